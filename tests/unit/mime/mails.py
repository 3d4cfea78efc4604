"""Mails to test with: builders for ordinary ones, generators for those that break parsers."""

import base64
import random
from collections.abc import Callable, Iterable
from typing import AnyStr

from tests.support.linear_time import SMALLER, assert_grows_linearly

PANGRAM = "Příliš žluťoučký kůň úpěl ďábelské ódy"


def mail(*headers: str, body: str | bytes = "Dobrý den\r\n", charset: str = "utf-8") -> bytes:
    """A mail of these header lines; without any other, From, To and Subject are set."""
    given = {line.partition(":")[0].lower() for line in headers}
    defaults = ("From: jana@firma.cz", "To: info@firma.cz", "Subject: Test")
    lines = [line for line in defaults if line.partition(":")[0].lower() not in given]
    content = body if isinstance(body, bytes) else body.encode(charset)
    return "\r\n".join([*headers, *lines, "", ""]).encode("utf-8", "surrogateescape") + content


def part(*headers: str, body: str | bytes = "") -> bytes:
    content = body if isinstance(body, bytes) else body.encode()
    return "\r\n".join([*headers, "", ""]).encode() + content


def multipart(kind: str, *parts: bytes, boundary: str = "=_hranice", headers: Iterable[str] = ()) -> bytes:
    """A multipart mail; nested ones come from `nested`."""
    return mail(
        *headers, f'Content-Type: multipart/{kind}; boundary="{boundary}"', body=_joined(parts, boundary)
    )


def nested(kind: str, *parts: bytes, boundary: str) -> bytes:
    return part(f'Content-Type: multipart/{kind}; boundary="{boundary}"', body=_joined(parts, boundary))


def _joined(parts: Iterable[bytes], boundary: str) -> bytes:
    line = b"--" + boundary.encode()
    return b"".join(line + b"\r\n" + each + b"\r\n" for each in parts) + line + b"--\r\n"


def base64_part(content_type: str, content: bytes, *headers: str) -> bytes:
    return part(
        f"Content-Type: {content_type}",
        "Content-Transfer-Encoding: base64",
        *headers,
        body=base64.encodebytes(content).replace(b"\n", b"\r\n"),
    )


def assert_linear(read: Callable[[AnyStr], object], large: AnyStr, small: AnyStr | None = None) -> None:
    """Reading takes time in proportion to the size: of `large`, and of an eighth of it, its two ends, unless that is given."""
    end = len(large) // SMALLER // 2
    smaller = large[:end] + large[-end:] if small is None else small
    assert_grows_linearly(lambda: read(smaller), lambda: read(large))


def _nested_multiparts(depth: int) -> bytes:
    body = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth)
    )
    return b"From: a@b.cz\r\nSubject: Test\r\n" + body + b"\r\ninnermost\r\n"


def _nested_messages(depth: int) -> bytes:
    return b"From: a@b.cz\r\nSubject: Test\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * depth + b"\r\nx"


def _many_parts(count: int, each: bytes = b"\r\nx") -> bytes:
    head = b"From: a@b.cz\r\nSubject: Test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + (b"--b" + each + b"\r\n") * count + b"--b--\r\n"


def _html(body: str) -> bytes:
    return mail("Content-Type: text/html; charset=utf-8", body=body)


def _random_octets(count: int) -> bytes:
    return random.Random(7).randbytes(count)


# Sizes are those of the measurements that stop the standard library for seconds, or larger.
NASTY: dict[str, Callable[[], bytes]] = {
    "to_unclosed_quotes_100k": lambda: mail("To: " + '"a"a' * 25_000 + '"'),
    "to_escaped_quotes_100k": lambda: mail("To: " + '\\"' * 50_000),
    "to_quote_then_escaped_quotes_100k": lambda: mail('To: "' + '\\"' * 50_000),
    "to_commas_100k": lambda: mail("To: " + "," * 100_000),
    "to_colons_100k": lambda: mail("To: a@b.cz" + ":" * 100_000),
    "to_semicolons_100k": lambda: mail("To: " + ";" * 100_000),
    "to_angles_100k": lambda: mail("To: " + "<" * 100_000),
    "to_angle_quotes_100k": lambda: mail("To: " + '<"a,' * 25_000),
    "to_closing_angles_100k": lambda: mail("To: " + "<>" * 50_000),
    "to_at_signs_100k": lambda: mail("To: " + "@ " * 50_000),
    "to_dots_100k": lambda: mail("To: " + "a." * 50_000),
    "to_spaces_100k": lambda: mail("To: a" + " " * 100_000 + "b"),
    "to_20000_recipients": lambda: mail("To: " + ",\r\n ".join(f"u{n}@firma.cz" for n in range(20_000))),
    "to_20000_headers": lambda: mail(*(f"To: u{n}@firma.cz" for n in range(20_000))),
    "from_5000_parentheses": lambda: mail("From: " + "(" * 5000),
    "from_100k_parentheses_pairs": lambda: mail("From: " + "()" * 50_000 + " a@b.cz"),
    "from_1m_parentheses": lambda: mail("From: " + "(" * 1_000_000),
    "content_type_semicolons_100k": lambda: mail("Content-Type: text/plain" + "; " * 50_000),
    "content_type_names_100k": lambda: mail("Content-Type: text/plain" + "; a" * 33_000),
    "content_type_quotes_100k": lambda: mail("Content-Type: text/plain" + '; a="' * 20_000),
    "content_type_equals_100k": lambda: mail("Content-Type: " + "=" * 100_000),
    "content_type_10000_parameters": lambda: mail(
        "Content-Type: text/plain" + "".join(f"; p{n}=v" for n in range(10_000))
    ),
    "rfc2231_10000_continuations": lambda: mail(
        "Content-Disposition: attachment" + "".join(f"; filename*{n}*=%41" for n in range(10_000))
    ),
    "semicolons_1m_filename": lambda: mail("Content-Disposition: attachment" + ";" * 1_000_000),
    "encoded_words_1m": lambda: mail("Subject: " + "=?utf-8?q?a?= " * 75_000),
    "encoded_words_mixed_1m": lambda: mail("Subject: " + "=?utf-8?q?a?= =?iso-8859-2?b?YQ==?= " * 30_000),
    "encoded_words_unclosed_1m": lambda: mail("Subject: " + "=?utf-8?q?" * 100_000),
    "encoded_words_starts_1m": lambda: mail("Subject: " + "=?" * 500_000),
    "subject_400k_words": lambda: mail("Subject: " + "word " * 80_000),
    "header_1m": lambda: mail("X-Long: " + "x" * 1_000_000),
    "header_name_1m": lambda: b"x" * 1_000_000 + b": y\r\n\r\nbody",
    "message_id_1m": lambda: mail("Message-ID: " + "<" * 500_000 + ">" * 500_000),
    "references_1m": lambda: mail("References: " + "<a@b> " * 160_000),
    "date_1m": lambda: mail("Date: " + "(" * 500_000 + " " * 500_000),
    "headers_100000": lambda: mail(*(f"X-H{n}: y" for n in range(100_000))),
    "received_100000": lambda: mail(*("Received: from a by b; Mon, 1 Jan 2024 10:00:00 +0000",) * 100_000),
    "folded_100000": lambda: mail("X-F: a" + "\r\n b" * 100_000),
    "header_lines_without_colon_1m": lambda: mail("X: y" + "\r\ngarbage" * 100_000),
    "parts_100000": lambda: _many_parts(100_000),
    "parts_1m_empty": lambda: _many_parts(1_000_000, b"\r\n"),
    "parts_without_blank_line_100000": lambda: _many_parts(100_000, b"\r\nContent-Type: text/plain"),
    "parts_unmatched_1m": lambda: mail(
        "Content-Type: multipart/mixed; boundary=b", body="--bb\r\n" * 1_000_000
    ),
    "dashes_3m": lambda: mail("Content-Type: multipart/mixed; boundary=b", body="\n--" * 1_000_000),
    "header_of_part_never_ends": lambda: _many_parts(900, b"\nA: b\n--c") + b"x" * 3_000_000,
    "nesting_500": lambda: _nested_multiparts(500),
    "nesting_20000": lambda: _nested_multiparts(20_000),
    "nesting_100_then_20m": lambda: _nested_multiparts(99) + b"x" * 20_000_000,
    "rfc822_nesting_20000": lambda: _nested_messages(20_000),
    "base64_garbage_5m": lambda: mail("Content-Transfer-Encoding: base64", body=_random_octets(5_000_000)),
    "base64_padding_5m": lambda: mail("Content-Transfer-Encoding: base64", body=b"QQ==\r\n" * 800_000),
    "base64_equals_5m": lambda: mail("Content-Transfer-Encoding: base64", body=b"=" * 5_000_000),
    "quoted_printable_5m": lambda: mail("Content-Transfer-Encoding: quoted-printable", body=b"=" * 5_000_000),
    "text_20m": lambda: mail(body=b"0123456789abcdef" * 1_250_000),
    "text_one_line_of_quotes": lambda: mail(body=">" * 2_000_000),
    "text_on_on_on": lambda: mail(body="On " * 100_000),
    "text_from_from": lambda: mail(body="From: a\n" * 100_000),
    "flowed_2m": lambda: mail("Content-Type: text/plain; format=flowed", body="> a \n" * 400_000),
    "flowed_quotes_2m": lambda: mail(
        "Content-Type: text/plain; format=flowed", body=(">" * 1000 + " \n") * 2000
    ),
    "html_deep_divs_100000": lambda: _html("<div>" * 100_000),
    "html_formats_times_blocks": lambda: _html(
        "".join(f"<font size={n}>" for n in range(5000)) + "<p>x" * 5000
    ),
    "html_open_comments": lambda: _html("<!--" * 200_000),
    "html_less_than_1m": lambda: _html("<" * 1_000_000),
    "html_unclosed_scripts": lambda: _html("<script>" * 100_000),
    "html_wide_table": lambda: _html(
        "<table><tr><td>" + "x" * 200_000 + "</td></tr>" + "<tr><td>a</td></tr>" * 5000 + "</table>"
    ),
    "html_entities_1m": lambda: _html("&#x41;&amp;" * 100_000),
    "html_cids_1m": lambda: _html("<img src=cid:a>" * 20_000),
    "html_meta_charsets": lambda: mail("Content-Type: text/html", body=b"<meta " * 100_000 + b"\xe9"),
    "zero_octets": lambda: b"",
    "nul_only": lambda: b"\0" * 100_000,
    "newlines_only_1m": lambda: b"\r\n" * 500_000,
    "carriage_returns_1m": lambda: b"\r" * 1_000_000,
    "spaces_only_1m": lambda: b" " * 1_000_000,
    "random_5m": lambda: _random_octets(5_000_000),
}
