"""The HTTP server for one bundle: `create_app` is its web application, `serve` runs it until it is stopped.

For one machine or one container behind whatever already terminates TLS. It has no accounts, no encryption, no
cross-origin access and no reloading: a new model is a new process. The server's libraries are imported only when a
function here is called.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import InputError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from trimtab.deployment.predictor import Predictor

EXAMPLE_COLUMNS = 12
PORTS_TO_TRY = 100
SHUTDOWN_SECONDS = 5


def create_app(predictor: Predictor, *, max_body_bytes: int = 20_000_000) -> Starlette:
    """Return the web application that answers for a predictor, after one checked prediction.

    ``POST /predict`` takes a picture (raw body or form field) or JSON rows, ``GET /health`` says what is served,
    ``GET /`` is a page to try it on. Every answer but the page is JSON; an error is ``{"error": sentence}``.

    Parameters
    ----------
    predictor
        What `trimtab.load` returns.
    max_body_bytes
        A longer request body is answered with status 413 and never held in memory.

    Raises
    ------
    IntegrityError
        If the model's answer to a made-up example is not a probability distribution, or not the same twice.
    """
    from trimtab.deployment.server_app import build_app

    return build_app(predictor, max_body_bytes=max_body_bytes)


def serve(path: str | Path, *, host: str = "127.0.0.1", port: int = 8080, engine: str = "onnx") -> None:
    """Answer HTTP requests for a bundle until Ctrl-C or SIGTERM; requests under way are finished first.

    Prints the address, the threads in use and an example request once the model is loaded, checked and reachable.

    Parameters
    ----------
    path
        A bundle directory, or a run directory that holds one.
    host, port
        Where to listen; port 0 takes any free one.
    engine
        ``"onnx"`` or ``"numpy"``, as in `trimtab.load`.

    Raises
    ------
    InputError
        If the server's libraries or the engine are missing, the port or host cannot be used, or there is no bundle
        at ``path``.
    IntegrityError
        If the bundle was altered, or its model does not pass the check.
    """
    uvicorn = _import_uvicorn()
    listener = bind(host, port)
    with listener:
        from trimtab.deployment.loading import load

        predictor = load(path, engine=engine)
        config = uvicorn.Config(
            create_app(predictor),
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        config.load()
        server = uvicorn.Server(config)
        with _stopped_by_signals(server):
            print(_greeting(predictor, _url(listener)), flush=True)
            server.run(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address, so that a taken port is known before anything else starts.

    Raises
    ------
    InputError
        If the port is out of range, in use or not permitted, or the host is not an address of this machine.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"the port is {port}", "a number from 0 to 65535", "pass --port 8080")
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _unknown_host(host) from error
    family, kind, protocol, _, address = resolved[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _refused(error, host, port) from error
    return listener


def _refused(error: OSError, host: str, port: int) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(
            f"port {port} of {host} is in use",
            "a free port",
            f"stop the program that uses it or pass --port {_next_free(host, port)}",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError(
            f"this user may not listen on port {port} of {host}",
            "a port that needs no special rights",
            f"pass --port {_next_free(host, max(port, 8079))}",
        )
    return _unknown_host(host)


def _unknown_host(host: str) -> InputError:
    return InputError(
        f"'{host}' is not an address of this machine",
        "127.0.0.1 (only this machine) or 0.0.0.0 (the whole network)",
        "pass --host 127.0.0.1",
    )


def _next_free(host: str, port: int) -> int:
    for candidate in range(port + 1, min(port + PORTS_TO_TRY, 65535) + 1):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
                probe.listen(1)
            except OSError:
                continue
            return candidate
    return 0  # the system picks one


def _import_uvicorn() -> Any:
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise InputError(
            f"the package {error.name} is not installed",
            "the packages that serving needs",
            "run pip install 'trimtab[serve]'",
        ) from error
    return uvicorn


@contextmanager
def _stopped_by_signals(server: Any) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the server as a success, from before it runs until after.

    uvicorn takes these signals over while it runs, then raises them again for the handlers found before: these.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _greeting(predictor: Predictor, url: str) -> str:
    threads = f"{predictor.threads} thread{'' if predictor.threads == 1 else 's'}"
    name = predictor.manifest.get("name", "the model")
    return f"{name} is served at {url} with {threads}; Ctrl-C stops it\ntry: {example_request(predictor, url)}"


def example_request(predictor: Predictor, url: str) -> str:
    """Return a curl command that the server at ``url`` answers: a picture, or a row with the real column names."""
    from trimtab.deployment.server_check import example_row

    if predictor.kind == "image":
        return f"curl --data-binary @picture.jpg {url}/predict"
    row = dict(list(example_row(predictor.manifest).items())[:EXAMPLE_COLUMNS])
    body = shlex.quote(dumps(row, ensure_ascii=False))
    return f"curl -H 'Content-Type: application/json' -d {body} {url}/predict"
