"""`serve` itself: a process of its own with a real bundle, over real sockets."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trimtab.artifact import Artifact
from trimtab.deployment.server import bind, serve
from trimtab.errors import InputError

Bundles = Callable[[Artifact], Path]
START = (
    "import sys; from trimtab.deployment.server import serve\n"
    "if sys.argv[3] == 'numpy': sys.modules['onnxruntime'] = None\n"
    "serve(sys.argv[1], port=int(sys.argv[2]), engine=sys.argv[3])"
)


@dataclass
class Served:
    process: subprocess.Popen[str]
    port: int
    greeting: list[str]

    def request(self, method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stop(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@pytest.fixture
def start(bundle_of: Bundles) -> Iterator[Callable[..., Served]]:
    processes: list[subprocess.Popen[str]] = []

    def run(artifact: Artifact, engine: str = "onnx") -> Served:
        command = [sys.executable, "-W", "error", "-c", START, str(bundle_of(artifact)), "0", engine]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "CI": "1"})
        processes.append(process)
        assert process.stdout is not None
        greeting = [process.stdout.readline().rstrip(), process.stdout.readline().rstrip()]
        port = re.search(r"http://127\.0\.0\.1:(\d+)", greeting[0])
        assert port is not None, process.communicate()
        return Served(process, int(port[1]), greeting)

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_served_pictures_are_answered_limited_and_ended_by_sigterm(
    start: Callable[..., Served], image_artifact: Artifact
) -> None:
    served = start(image_artifact)
    url = f"http://127.0.0.1:{served.port}"
    assert served.greeting == [
        f"pets is served at {url} with 1 thread; Ctrl-C stops it",
        f"try: curl --data-binary @picture.jpg {url}/predict",
    ]
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(file, format="JPEG")
    status, answer = served.request("POST", "/predict", file.getvalue(), {"content-type": "image/jpeg"})
    assert status == 200
    assert sum(answer["predictions"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)

    noise = os.urandom(1_000_000) * 50
    for body in (noise, (noise[:1_000_000] for _ in range(50))):  # with its length declared, and in chunks
        status, answer = served.request("POST", "/predict", body)
        assert status == 413
        assert answer["error"].startswith("the body is longer than 20,000,000 bytes; expected")
    assert served.request("GET", "/health")[1]["status"] == "ready"
    assert peak_megabytes(served.process.pid) < 300
    assert served.stop(signal.SIGTERM) == (0, "")


def peak_megabytes(pid: int) -> float:
    """Largest resident size of a process; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


def test_served_rows_are_answered_and_ended_by_ctrl_c(start: Callable[..., Served], table_artifact: Artifact) -> None:
    served = start(table_artifact)
    assert '"job": "cook"' in served.greeting[1]
    status, answer = served.request("POST", "/predict", b'{"job": "pilot", "age": "39"}')
    assert status == 200
    assert set(answer["predictions"][0]["probabilities"]) == {"no", "yes"}
    assert "the value 'pilot' of 'job' was not seen in training" in " ".join(answer["warnings"])
    assert served.request("POST", "/predict", b"{")[0] == 400
    assert served.stop(signal.SIGINT) == (0, "")


def test_numpy_serves_the_same_answers(start: Callable[..., Served], image_artifact: Artifact) -> None:
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, format="PNG")
    answers = []
    for engine in ("onnx", "numpy"):
        status, answer = start(image_artifact, engine).request("POST", "/predict", file.getvalue())
        assert status == 200
        answers.append(answer["predictions"][0]["probabilities"])
    assert answers[0] == pytest.approx(answers[1], abs=1e-4)


def test_signal_right_after_the_greeting_is_not_lost(start: Callable[..., Served], table_artifact: Artifact) -> None:
    assert start(table_artifact).stop(signal.SIGTERM) == (0, "")


# ---- ports


@pytest.fixture
def taken() -> Iterator[int]:
    with bind("127.0.0.1", 0) as listener:
        yield listener.getsockname()[1]


def test_port_in_use_is_named_with_a_free_one_before_the_bundle_is_read(taken: int) -> None:
    with pytest.raises(InputError) as caught:
        serve("no/such/bundle", port=taken)
    found = re.fullmatch(
        rf"port {taken} of 127\.0\.0\.1 is in use; expected a free port; stop the program that uses it or pass "
        r"--port (\d+)\.",
        str(caught.value),
    )
    assert found is not None
    bind("127.0.0.1", int(found[1])).close()


def test_port_that_is_not_permitted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.bind

    def refuse(self: socket.socket, address: Any) -> None:
        if address[1] < 1024:
            raise PermissionError(13, "Permission denied")
        real(self, address)

    monkeypatch.setattr("trimtab.deployment.server.socket.socket", type("Refusing", (socket.socket,), {"bind": refuse}))
    with pytest.raises(InputError) as caught:
        bind("127.0.0.1", 80)
    assert re.fullmatch(
        r"this user may not listen on port 80 of 127\.0\.0\.1; expected a port that needs no special rights; pass "
        r"--port 80[89]\d\.",
        str(caught.value),
    )


@pytest.mark.parametrize("port", [-1, 65536])
def test_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(InputError) as caught:
        bind("127.0.0.1", port)
    assert str(caught.value) == f"the port is {port}; expected a number from 0 to 65535; pass --port 8080."


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 70, "no host"])
def test_host_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(InputError) as caught:
        bind(host, 0)
    assert str(caught.value) == (
        f"'{host}' is not an address of this machine; expected 127.0.0.1 (only this machine) or 0.0.0.0 (the whole "
        "network); pass --host 127.0.0.1."
    )


def test_missing_bundle_frees_the_port() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(InputError, match="there is no directory no/such/bundle"):
        serve("no/such/bundle", port=port)
    bind("127.0.0.1", port).close()


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(InputError) as caught:
        serve("anything")
    assert str(caught.value) == (
        "the package uvicorn is not installed; expected the packages that serving needs; run pip install "
        "'trimtab[serve]'."
    )


def test_importing_the_door_imports_no_server_library() -> None:
    code = (
        "import sys, trimtab.deployment.server; "
        "print([name for name in ('starlette', 'uvicorn', 'anyio', 'onnxruntime', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
