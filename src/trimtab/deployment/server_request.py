"""From an HTTP request to what a predictor takes: the body within its limit, then one picture or a list of rows.

Whether the picture can be decoded, and each row has columns that fit, is the predictor's to say.
"""

from __future__ import annotations

import json
from email.message import Message
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any

from trimtab.errors import TrimtabError

if TYPE_CHECKING:
    from starlette.requests import Request

BODY_SECONDS = 60
MAX_ROWS = 10_000
FORM_FIELDS = ("image", "file")

# What clients send when nobody chose a type: curl --data-binary, fetch, a plain socket.
UNSPECIFIC_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
JSON_TYPES = (*UNSPECIFIC_TYPES, "application/json", "text/json", "text/plain")


class RequestError(TrimtabError):
    """A request that cannot be answered, with the HTTP status that says so."""

    def __init__(self, status: int, given: str, expected: str, action: str) -> None:
        super().__init__(given, expected, action)
        self.status = status


async def read_body(request: Request, *, limit: int) -> bytes:
    """Return a request's body, reading no further than ``limit`` bytes.

    Raises
    ------
    RequestError
        413 when it is longer, 408 when it takes more than a minute to arrive, 415 when it is compressed.
    """
    import anyio

    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise RequestError(415, f"the body is encoded as {encoding}", "a plain body", "send it uncompressed")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_long(limit)
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_long(limit)
    except TimeoutError as error:
        given = f"the body did not arrive within {BODY_SECONDS} seconds"
        raise RequestError(408, given, "the whole request", "send it again") from error
    return bytes(body)


def _too_long(limit: int) -> RequestError:
    return RequestError(
        413,
        f"the body is longer than {limit:,} bytes",
        "a picture or rows within that",
        "send a smaller picture, or the rows in several requests",
    )


def parse_picture(content_type: str, body: bytes) -> bytes:
    """Return the encoded picture in a body: the body itself, or the form field ``image`` or ``file``.

    Raises
    ------
    RequestError
        415 for a content type that cannot be a picture, 400 when there is none in the body, or several.
    """
    media_type = _media_type(content_type)
    if media_type == "multipart/form-data":
        body = _form_picture(content_type, body)
    elif not media_type.startswith("image/") and media_type not in UNSPECIFIC_TYPES:
        raise RequestError(
            415,
            f"the content type is {media_type}, and this model takes pictures",
            "an image type, application/octet-stream or a form",
            "send the file with curl --data-binary @picture.jpg or curl -F image=@picture.jpg",
        )
    if not body:
        raise RequestError(400, "the picture is empty", "the bytes of an image file", "check the path of the file")
    return body


def _form_picture(content_type: str, body: bytes) -> bytes:
    fields = _form_fields(content_type, body)
    pictures = [content for name, content in fields if name in FORM_FIELDS]
    if len(pictures) == 1:
        return pictures[0]
    if pictures:
        given, action = f"the form holds {len(pictures)} pictures", "send one request for each"
    else:
        names = ", ".join(f"'{name}'" for name, _ in fields) or "nothing"
        given, action = f"the form holds {names}", "send it with curl -F image=@picture.jpg"
    raise RequestError(400, given, "one picture in the field 'image' or 'file'", action)


def _form_fields(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Split multipart/form-data (RFC 7578) that lies in memory; no temporary file is written, whatever its size."""
    boundary = _header(content_type).get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise RequestError(
            400, "the form has no boundary", "multipart/form-data; boundary=...", "let the client set the content type"
        )
    fields = []
    for section in (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))[1:]:
        if section.startswith(b"--"):
            break
        head, _, content = section.partition(b"\r\n\r\n")
        headers = HeaderParser().parsestr(head.decode("latin-1").lstrip())
        fields.append((str(headers.get_param("name", "", "content-disposition")), content))
    return fields


def parse_rows(content_type: str, body: bytes) -> list[Any]:
    """Return the rows in a JSON body: a list of objects, ``{"rows": [...]}``, or one object.

    ``NaN``, which JSON does not have but many programs write, is a missing value; infinite numbers are left for the
    predictor to refuse by name.

    Raises
    ------
    RequestError
        415 for a content type that cannot be JSON, 400 when the body is not JSON or holds no list, 413 when the list
        is too long.
    """
    media_type = _media_type(content_type)
    if media_type not in JSON_TYPES and not media_type.endswith("+json"):
        raise RequestError(
            415,
            f"the content type is {media_type}, and this model takes rows of a table",
            "application/json",
            "send a list of objects, each with a value per column",
        )
    rows = _rows(_parse_json(body))
    if not rows:
        raise RequestError(400, "there are no rows in the request", "at least one", "send a list of objects")
    if len(rows) > MAX_ROWS:
        given, expected = f"the request holds {len(rows):,} rows", f"at most {MAX_ROWS:,}"
        raise RequestError(413, given, expected, "send them in several requests")
    return rows


def _parse_json(body: bytes) -> Any:
    try:
        text = body.decode(json.detect_encoding(body))
        content = json.loads(text, parse_constant=lambda word: None if word == "NaN" else float(word))
        if "\\ud" in text or "\\uD" in text:  # an escaped half of a surrogate pair is JSON, but no text
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError as error:
        raise RequestError(400, "the JSON is nested too deeply", "a list of objects", "send flat rows") from error
    except ValueError as error:
        reason = "it is empty" if not body.strip() else str(error)
        raise RequestError(
            400, f"the body is not valid JSON ({reason})", "a list of objects", "correct the body and send it again"
        ) from error
    return content


def _rows(content: Any) -> list[Any]:
    if isinstance(content, dict):
        wrapped = content.get("rows")
        if isinstance(wrapped, list):
            return wrapped
        return [content]
    if isinstance(content, list):
        return content
    raise RequestError(
        400,
        f"the JSON body is {_kind(content)}",
        'a list of objects, {"rows": [...]} or one object',
        'send rows such as {"column": value}',
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _header(content_type: str) -> Message:
    message = Message()
    message["content-type"] = content_type
    return message


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
