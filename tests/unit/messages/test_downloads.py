"""The header that names a downloaded file: whatever a stranger called it, it is one header with one name."""

import re
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mime.attachments import clean_name
from app.routers.downloads import content_disposition, download
from app.services.messages.reading import Download

NAMES = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=()), max_size=80),
    st.lists(
        st.sampled_from(
            ["\r\n", "\n", "Set-Cookie: a=b", "\x00", "\x7f", "\x85", "\u2028", "\u202e", '"', "\\", "/", "..", ";",
             "filename*=UTF-8''x", "%0d%0a", "%", "'", "*", "č", "=?utf-8?q?=0a?=", "a", " ", ".pdf", "\ud800"]
        ),
        max_size=12,
    ).map("".join),
)  # fmt: skip
FORM = re.compile(
    r'(inline|attachment); filename="([^"\\%]*)"; filename\*=UTF-8\'\'([A-Za-z0-9!#$&+.^_`|~%-]*)'
)


@settings(max_examples=500, deadline=None)
@given(NAMES, st.booleans())
def test_the_header_says_the_name_and_nothing_else(stated: str, inline: bool) -> None:
    name = clean_name(stated)
    value = content_disposition(name, inline=inline)
    assert value.isascii()
    assert value.isprintable()
    read = FORM.fullmatch(value)
    assert read is not None, value
    assert read[1] == ("inline" if inline else "attachment")
    assert unquote(read[3], errors="strict") == name
    assert not re.search(r"[/\\\x00-\x1f\x7f-\x9f]", name)
    assert name not in {".", ".."}
    assert len(name.encode()) <= 255


@pytest.fixture(scope="module")
def names() -> list[str]:
    return []


@pytest.fixture(scope="module")
def client(names: list[str]) -> TestClient:
    app = FastAPI()

    @app.get("/")
    def get() -> object:
        return download(
            Download(
                octets=1, pieces=iter([b"x"]), content_type="application/pdf", name=names[-1], inline=False
            )
        )

    return TestClient(app)


@settings(max_examples=100, deadline=None)
@given(stated=NAMES)
def test_over_http_no_name_brings_a_header_of_its_own(
    client: TestClient, names: list[str], stated: str
) -> None:
    names.append(clean_name(stated) or "attachment-1")
    answer = client.get("/")
    assert sorted(answer.headers) == [
        "cache-control",
        "content-disposition",
        "content-length",
        "content-security-policy",
        "content-type",
        "x-content-type-options",
    ]
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["x-content-type-options"] == "nosniff"
