"""From bodies to pictures and rows, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trimtab.deployment.server_request import RequestError, parse_picture, parse_rows

FORM = 'multipart/form-data; boundary="a+b"'


def form(*fields: tuple[str, bytes]) -> bytes:
    parts = [b'--a+b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (n.encode(), c) for n, c in fields]
    return b"".join(parts) + b"--a+b--\r\n"


def refusal(parse: Any, *arguments: Any) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        parse(*arguments)
    return caught.value.status, str(caught.value)


def test_raw_body_is_the_picture() -> None:
    assert parse_picture("image/png", b"\x89PNG") == b"\x89PNG"


def test_form_content_may_hold_anything_but_the_boundary() -> None:
    content = b"\r\n\r\n--other\r\n--a+" + bytes(range(256)) + b"\r\n"
    assert parse_picture(FORM, form(("note", b""), ("file", content))) == content


def test_form_may_have_a_preamble_padding_and_an_epilogue() -> None:
    head = b'content-disposition: form-data; name=image; filename="\xc3\xa9"'
    body = b"preamble\r\n--a+b \t\r\n" + head + b"\r\n\r\nX\r\n--a+b--\r\nend"
    assert parse_picture(FORM, body) == b"X"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "sentence"),
    [
        (FORM, form(("photo", b"x")), 400, "the form holds 'photo'; expected one picture in the field 'image' or "
         "'file'; send it with curl -F image=@picture.jpg."),
        (FORM, b"", 400, "the form holds nothing; expected one picture in the field 'image' or 'file'; send it with "
         "curl -F image=@picture.jpg."),
        (FORM, form(("image", b"x"), ("file", b"y")), 400, "the form holds 2 pictures; expected one picture in the "
         "field 'image' or 'file'; send one request for each."),
        (FORM, form(("image", b"")), 400, "the picture is empty; expected the bytes of an image file; check the path "
         "of the file."),
        ("", b"", 400, "the picture is empty; expected the bytes of an image file; check the path of the file."),
        ("multipart/form-data", b"x", 400, "the form has no boundary; expected multipart/form-data; boundary=...; let "
         "the client set the content type."),
        ("text/html; charset=utf-8", b"x", 415, "the content type is text/html, and this model takes pictures; "
         "expected an image type, application/octet-stream or a form; send the file with curl --data-binary "
         "@picture.jpg or curl -F image=@picture.jpg."),
    ],
)  # fmt: skip
def test_request_without_one_picture_is_refused(content_type: str, body: bytes, status: int, sentence: str) -> None:
    assert refusal(parse_picture, content_type, body) == (status, sentence)


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'[{"a": 1}, {"a": "x"}]', [{"a": 1}, {"a": "x"}]),
        (b'{"rows": [{"a": null}]}', [{"a": None}]),
        (b'{"a": true}', [{"a": True}]),
        (b'{"rows": 3}', [{"rows": 3}]),
        ('{"ä": "\\u00e4"}'.encode("utf-16"), [{"ä": "ä"}]),
        (b'{"a": NaN}', [{"a": None}]),
        (b'{"a": -Infinity}', [{"a": float("-inf")}]),
        (b'{"a": "\\ud83d\\ude00"}', [{"a": "😀"}]),
    ],
)
def test_rows_are_read(body: bytes, rows: list[Any]) -> None:
    assert parse_rows("application/json", body) == rows


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b'{"age": ', 400, "the body is not valid JSON (Expecting value: line 1 column 9 (char 8)); expected a list "
         "of objects; correct the body and send it again."),
        (b" ", 400, "the body is not valid JSON (it is empty); expected a list of objects; correct the body and send "
         "it again."),
        (b"[" * 100_000, 400, "the JSON is nested too deeply; expected a list of objects; send flat rows."),
        (b"[]", 400, "there are no rows in the request; expected at least one; send a list of objects."),
        (b'{"rows": []}', 400, "there are no rows in the request; expected at least one; send a list of objects."),
        (b'"age"', 400, 'the JSON body is a text; expected a list of objects, {"rows": [...]} or one object; '
         'send rows such as {"column": value}.'),
        (b"null", 400, 'the JSON body is null; expected a list of objects, {"rows": [...]} or one object; '
         'send rows such as {"column": value}.'),
        (json.dumps([{}] * 10_001).encode(), 413, "the request holds 10,001 rows; expected at most 10,000; send them "
         "in several requests."),
    ],
)  # fmt: skip
def test_json_that_is_no_rows_is_refused(body: bytes, status: int, sentence: str) -> None:
    assert refusal(parse_rows, "", body) == (status, sentence)


@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=x", "text/csv"])
def test_rows_under_a_type_that_is_no_json_are_refused(content_type: str) -> None:
    media_type = content_type.partition(";")[0]
    assert refusal(parse_rows, content_type, b"[]") == (
        415,
        f"the content type is {media_type}, and this model takes rows of a table; expected application/json; send a "
        "list of objects, each with a value per column.",
    )
