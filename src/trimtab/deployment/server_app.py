"""The web application around a predictor: its three endpoints, and JSON for everything that goes wrong.

Imports Starlette: only `trimtab.deployment.server.create_app` imports this module, when it is called.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from trimtab.deployment.server_check import SelfCheck, self_check
from trimtab.deployment.server_page import render_page
from trimtab.deployment.server_request import RequestError, parse_picture, parse_rows, read_body
from trimtab.errors import InputError
from trimtab.machine import available_threads

if TYPE_CHECKING:
    from trimtab.deployment.predictor import Predictor

# A thread costs a request about 0.1 ms; a model slower than this would keep every other request waiting for longer.
INLINE_MILLISECONDS = 5.0
# Decoding and parsing grow with the body, the check's example is small.
INLINE_BODY_BYTES = 65_536
MAX_WORKERS = 4
MAX_WARNINGS = 20
MAX_SENTENCE = 1000
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


def build_app(predictor: Predictor, *, max_body_bytes: int) -> Starlette:
    """Check the predictor and return its web application; see `trimtab.deployment.server.create_app`."""
    page, policy = render_page(predictor)
    service = _Service(
        predictor=predictor,
        check=self_check(predictor),
        max_body_bytes=max_body_bytes,
        page=page,
        policy=policy,
        workers=anyio.CapacityLimiter(min(MAX_WORKERS, available_threads())),
    )
    app = Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/health", service.health, methods=["GET"]),
            Route("/", service.index, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _no_such_route, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    return app


@dataclass(frozen=True, kw_only=True)
class _Service:
    predictor: Predictor
    check: SelfCheck
    max_body_bytes: int
    page: str
    policy: str
    workers: anyio.CapacityLimiter

    async def predict(self, request: Request) -> Response:
        """Answer ``POST /predict``."""
        try:
            body = await read_body(request, limit=self.max_body_bytes)
            answer = functools.partial(answer_request, self.predictor, request.headers.get("content-type", ""), body)
            return _json(await self._call(answer, len(body)))
        except RequestError as error:
            return _error(error.status, str(error))
        except InputError as error:
            return _error(400, f"{error}{self._hint(request)}")
        except ClientDisconnect:
            return _error(400, "the client left before its request was whole")

    async def _call(self, answer: Callable[[], bytes], body_bytes: int) -> bytes:
        if self.check.milliseconds < INLINE_MILLISECONDS and body_bytes <= INLINE_BODY_BYTES:
            return answer()
        return await anyio.to_thread.run_sync(answer, limiter=self.workers)

    def _hint(self, request: Request) -> str:
        form = request.headers.get("content-type", "") == "application/x-www-form-urlencoded"
        spoiled = self.predictor.kind == "image" and form  # curl -d leaves out every line feed of a file
        return " With curl, write --data-binary where you wrote -d." if spoiled else ""

    async def health(self, request: Request) -> Response:
        """Answer ``GET /health``; that it answers means that the check was passed."""
        manifest = self.predictor.manifest
        content = {
            "status": "ready",
            "name": manifest.get("name"),
            "kind": self.predictor.kind,
            "version": manifest.get("versions", {}).get("trimtab"),
            "class_names": list(self.predictor.class_names),
            "threads": self.predictor.threads,
        }
        return _json(_encode(content))

    async def index(self, request: Request) -> Response:
        """Answer ``GET /``."""
        return HTMLResponse(self.page, headers={**HEADERS, "Content-Security-Policy": self.policy})


def answer_request(predictor: Predictor, content_type: str, body: bytes) -> bytes:
    """Return the JSON answer to the body of a request.

    ``milliseconds`` in it is the time from the whole body to the probabilities, without waiting and the network.

    Raises
    ------
    RequestError, InputError
        If the body cannot be understood, or the predictor cannot use what is in it.
    """
    started = time.perf_counter()
    data = [parse_picture(content_type, body)] if predictor.kind == "image" else parse_rows(content_type, body)
    probabilities, warnings = predictor.predict_proba_with_warnings(data)
    milliseconds = (time.perf_counter() - started) * 1000
    content = {
        "predictions": _predictions(predictor.class_names, probabilities),
        "warnings": _shortened(warnings),
        "milliseconds": round(milliseconds, 3),
    }
    return _encode(content)


def _predictions(class_names: Sequence[str], probabilities: NDArray[np.float32]) -> list[dict[str, Any]]:
    predictions = []
    for row in probabilities:
        rounded = [float(f"{probability:.6g}") for probability in row.tolist()]
        best = int(row.argmax())
        predictions.append(
            {
                "class": class_names[best],
                "probability": rounded[best],
                "probabilities": dict(zip(class_names, rounded, strict=True)),
            }
        )
    return predictions


def _shortened(warnings: Sequence[str]) -> list[str]:
    shown = [_cut(warning) for warning in warnings[:MAX_WARNINGS]]
    left = len(warnings) - len(shown)
    return [*shown, f"and {left} more warnings"] if left else shown


def _cut(sentence: str) -> str:
    """Shorten a sentence that quotes a client's own megabytes back at it."""
    return sentence if len(sentence) <= MAX_SENTENCE else f"{sentence[: MAX_SENTENCE // 2]} ... {sentence[-200:]}"


async def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    given = f"{request.method} {request.url.path} is not served here"
    sentence = f"{given}; expected POST /predict, GET /health or GET /; correct the method or the address."
    return _error(error.status_code, sentence, error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    # The server writes the traceback to standard error after this answer is sent.
    return _error(500, "the server failed on this request; the reason is in its log, on standard error.")


def _error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json(_encode({"error": _cut(sentence)}), status, headers)


def _json(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(content, status, {**HEADERS, **(headers or {})}, media_type="application/json")


def _encode(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
