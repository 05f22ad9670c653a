"""The web application, called in this process around a stand-in for the predictor."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from trimtab.data.encoding import CategoryEncoding, NumberEncoding, TableEncoder
from trimtab.data.images import decode_image
from trimtab.deployment import server_app, server_request
from trimtab.deployment.server import create_app

ENCODER = TableEncoder(
    columns=(
        NumberEncoding(name="age", edges=(17.0, 30.0, 90.0), median=37.5, has_missing=False),
        CategoryEncoding(name="work", values=("Private", "", "It's")),
    )
)
ACCURACY = {"value": 0.84, "low": 0.83, "high": 0.85, "method": "Wilson", "level": 0.95}


class StandIn:
    """Has the predictor's interface; dark pictures and old people are of class 0."""

    threads = 1

    def __init__(self, kind: str, class_names: tuple[str, ...] = ("cat", "dog")) -> None:
        self.kind, self.class_names = kind, class_names
        preprocessing = {"image_size": 8, "channels": 3} if kind == "image" else {"encoder": ENCODER.to_dict()}
        self.manifest: dict[str, Any] = {
            "name": "pets",
            "kind": kind,
            "class_names": list(class_names),
            "metrics": {"accuracy": ACCURACY},
            "cost": {"megabytes": 0.3},
            "versions": {"trimtab": "0.1.0"},
            "preprocessing": preprocessing,
        }
        self.calls_in: list[int] = []

    def predict_proba(self, data: Any) -> Any:
        return self.predict_proba_with_warnings(data)[0]

    def predict_proba_with_warnings(self, data: Any) -> Any:
        self.calls_in.append(threading.get_ident())
        warnings: tuple[str, ...] = ()
        if self.kind == "image":
            second = np.array([decode_image(content, channels=3).mean() / 255 for content in data])
        else:
            table, warnings = ENCODER.parse_rows(data)
            second = 1 - np.nan_to_num(table.columns["age"], nan=50.0) / 100
        return np.stack([1 - second, second], axis=1).astype(np.float32), warnings


class Client:
    """Calls an application without a socket; an exception in it is an answer, as behind a real server."""

    def __init__(self, predictor: Any, **options: Any) -> None:
        self.app = create_app(predictor, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def predict(self, content: Any, content_type: str | None = None) -> httpx.Response:
        headers = {"content-type": content_type} if content_type else {}
        return self.request("POST", "/predict", content=content, headers=headers)


@pytest.fixture
def pictures() -> Client:
    return Client(StandIn("image"))


@pytest.fixture
def rows() -> Client:
    return Client(StandIn("table", ("no", "yes")))


def encode(value: int, *, file_format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), (value, value, value)).save(file, format=file_format)
    return file.getvalue()


# ---- pictures


@pytest.mark.parametrize(
    "content_type",
    [None, "image/jpeg", "image/*", "application/octet-stream", "application/x-www-form-urlencoded", "Image/PNG; q=1"],
)
def test_picture_is_the_raw_body_under_any_type_that_clients_send(pictures: Client, content_type: str | None) -> None:
    answer = pictures.predict(encode(51), content_type).json()
    assert answer["predictions"] == [{"class": "cat", "probability": 0.8, "probabilities": {"cat": 0.8, "dog": 0.2}}]
    assert answer["warnings"] == []
    assert answer["milliseconds"] > 0


@pytest.mark.parametrize("field", ["image", "file"])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP"])
def test_picture_is_a_form_field(pictures: Client, field: str, file_format: str) -> None:
    files = {field: ("cat.bin", encode(255, file_format=file_format), "application/octet-stream")}
    answer = pictures.request("POST", "/predict", data={"note": "x\r\n--y"}, files=files)
    assert answer.json()["predictions"][0] == {
        "class": "dog",
        "probability": 1.0,
        "probabilities": {"cat": 0.0, "dog": 1.0},
    }


def test_what_is_no_picture_is_refused(pictures: Client) -> None:
    answer = pictures.predict(b"hello", "image/png")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the picture image cannot be read")


def test_picture_spoiled_by_curl_gets_a_hint(pictures: Client) -> None:
    spoiled = encode(1).replace(b"\n", b"").replace(b"\r", b"")  # what curl -d does
    error = pictures.predict(spoiled, "application/x-www-form-urlencoded").json()["error"]
    assert error.endswith("With curl, write --data-binary where you wrote -d.")


# ---- rows


@pytest.mark.parametrize(
    "body",
    [[{"age": 80, "work": "Private"}], {"rows": [{"age": "80", "work": ""}]}, {"age": 80.0, "work": None}],
)
@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "application/x-www-form-urlencoded"])
def test_rows_come_as_list_wrapped_or_alone(rows: Client, body: Any, content_type: str | None) -> None:
    answer = rows.predict(json.dumps(body), content_type).json()
    assert answer["predictions"] == [{"class": "no", "probability": 0.8, "probabilities": {"no": 0.8, "yes": 0.2}}]
    assert answer["warnings"] == []


def test_each_row_has_its_prediction_in_order(rows: Client) -> None:
    answer = rows.predict(json.dumps([{"age": 10, "work": ""}, {"age": 90, "work": ""}])).json()
    assert [prediction["class"] for prediction in answer["predictions"]] == ["yes", "no"]


def test_unknown_category_and_missing_column_are_predictions_with_warnings(rows: Client) -> None:
    answer = rows.predict(b'{"work": "Mars", "planet": 4}')
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["probability"] == 0.5
    assert len(answer.json()["warnings"]) == 3
    assert answer.json()["warnings"][0] == "the column 'age' is missing in 1 of 1 rows: treated as a missing value"


def test_nan_in_json_is_a_missing_value(rows: Client) -> None:
    answer = rows.predict(b'[{"age": NaN, "work": NaN}]')
    assert answer.json()["predictions"][0]["probability"] == 0.5
    assert answer.json()["warnings"] == []


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "1e999"])
def test_infinite_number_in_json_is_refused_by_name(rows: Client, number: str) -> None:
    answer = rows.predict(f'[{{"age": {number}}}]')
    assert answer.status_code == 400
    assert re.match(r"row 1 has -?inf in the column 'age'; expected a finite number", answer.json()["error"])


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\xfa",
        b'{"work": "\\ud800"}',
        b'{"work": "\xed\xa0\x80"}',
        '{"work": "\\ud800"}'.encode("utf-16"),
        b'{"age": 1' + b"0" * 5000 + b"}",
        b"[1]",
        b"[[1]]",
        b"{}",
        b"[{}]",
        b'{"age": [1]}',
        b'{"age": {"x": 1}}',
        b'{"work": [1]}',
        b'{"rows": {"age": 1}}',
        b'{"age": "old"}',
        b"3",
        b"true",
    ],
)
def test_any_other_wrong_shape_is_a_400(rows: Client, body: bytes) -> None:
    answer = rows.predict(body)
    assert answer.status_code == 400
    assert len(answer.json()["error"]) > 20


def test_wrong_type_and_form_without_a_picture_are_answered_with_their_status(pictures: Client, rows: Client) -> None:
    assert pictures.predict(b"{}", "application/json").status_code == 415
    assert rows.predict(encode(0), "image/png").status_code == 415
    assert pictures.request("POST", "/predict", files=[("photo", b"x")]).status_code == 400


def test_warnings_are_counted_and_cut(rows: Client) -> None:
    row = {"age": 1, "work": "", **{"x" * 5000 + str(number): 1 for number in range(9)}}
    for warning in rows.predict(json.dumps([row])).json()["warnings"]:
        assert len(warning) <= 1000
    many = server_app._shortened([f"{number}" * 2000 for number in range(30)])
    assert len(many) == 21
    assert many[-1] == "and 10 more warnings"
    assert max(map(len, many)) <= 1000


# ---- limits


def test_body_over_the_limit_is_not_read_to_its_end() -> None:
    client = Client(StandIn("image"), max_body_bytes=1000)
    sent = []

    async def noise() -> AsyncIterator[bytes]:
        for number in range(100):
            sent.append(number)
            yield bytes(600)

    answer = client.predict(noise())
    assert answer.status_code == 413
    assert answer.json()["error"] == (
        "the body is longer than 1,000 bytes; expected a picture or rows within that; send a smaller picture, or the "
        "rows in several requests."
    )
    assert len(sent) <= 3


def test_body_declared_over_the_limit_is_not_read_at_all() -> None:
    client = Client(StandIn("image"), max_body_bytes=1000)
    sent = []

    async def noise() -> AsyncIterator[bytes]:
        sent.append(1)
        yield bytes(1001)

    answer = client.request("POST", "/predict", content=noise(), headers={"content-length": "1001"})
    assert answer.status_code == 413


def test_body_of_exactly_the_limit_is_read() -> None:
    picture = encode(0)
    assert Client(StandIn("image"), max_body_bytes=len(picture)).predict(picture).status_code == 200
    assert Client(StandIn("image"), max_body_bytes=len(picture) - 1).predict(picture).status_code == 413


def test_body_that_does_not_arrive_is_a_408(monkeypatch: pytest.MonkeyPatch, pictures: Client) -> None:
    monkeypatch.setattr(server_request, "BODY_SECONDS", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(10)

    answer = pictures.predict(slow())
    assert answer.status_code == 408
    assert answer.json()["error"] == (
        "the body did not arrive within 0.05 seconds; expected the whole request; send it again."
    )


def test_compressed_body_is_a_415(rows: Client) -> None:
    answer = rows.request("POST", "/predict", content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415
    assert answer.json()["error"] == "the body is encoded as gzip; expected a plain body; send it uncompressed."


# ---- routes and failures


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/predict/", 404),
        ("GET", "/../secret", 404),
        ("GET", "/predict", 405),
        ("OPTIONS", "/predict", 405),
        ("POST", "/health", 405),
        ("DELETE", "/", 405),
    ],
)
def test_unknown_path_or_method_is_json(rows: Client, method: str, path: str, status: int) -> None:
    answer = rows.request(method, path)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["error"].endswith(
        "is not served here; expected POST /predict, GET /health or GET /; correct the method or the address."
    )
    assert ("allow" in answer.headers) == (status == 405)


def test_unexpected_failure_is_a_500_without_its_reason() -> None:
    predictor = StandIn("table")
    client = Client(predictor)

    def fail(data: Any) -> Any:
        raise RuntimeError("secret detail")

    predictor.predict_proba_with_warnings = fail  # type: ignore[method-assign]
    answer = client.predict(b'{"age": 1}')
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed on this request; the reason is in its log, on standard error."}


def test_health_says_what_is_served(rows: Client) -> None:
    assert rows.request("GET", "/health").json() == {
        "status": "ready",
        "name": "pets",
        "kind": "table",
        "version": "0.1.0",
        "class_names": ["no", "yes"],
        "threads": 1,
    }


def test_no_answer_allows_another_origin(rows: Client) -> None:
    for path in ("/", "/health", "/nothing"):
        answer = rows.request("GET", path, headers={"origin": "https://elsewhere.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_fast_model_runs_inline_and_slow_or_large_requests_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = StandIn("image")
    client = Client(predictor)
    here = threading.get_ident()
    client.predict(encode(0))
    assert predictor.calls_in[-1] == here
    client.predict(encode(0) + bytes(70_000))
    assert predictor.calls_in[-1] != here
    monkeypatch.setattr(server_app, "INLINE_MILLISECONDS", 0.0)
    client.predict(encode(0))
    assert predictor.calls_in[-1] != here
