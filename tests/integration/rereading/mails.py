"""The mails in `tests/data/reader_1.sql`, by name, in the order in which they were stored.

Reader 1 lost those whose label only Python knows (`latin1` and its kin): without text, attachments and, where the
header names such a charset, any field. The others it read, some of them otherwise than a later reader does.
"""

import base64

CRLF = "\r\n"


def _mail(name: str, *lines: str, body: str = "Hello", charset: str = "utf-8") -> bytes:
    given = {line.partition(":")[0] for line in lines}
    usual = [
        f"Message-ID: <{name}@mails.test>",
        "From: Jana <jana@firma.test>",
        "To: info@firma.test",
        f"Subject: {name}",
        "Date: Mon, 3 Nov 2025 10:00:00 +0100",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
    ]
    kept = [line for line in usual if line.partition(":")[0] not in given]
    return CRLF.join([*kept, *lines, "", body, ""]).encode(charset)


def _multipart(name: str, kind: str, parts: list[str], *lines: str, charset: str = "utf-8") -> bytes:
    body = "".join(f"--=b={CRLF}{part}{CRLF}" for part in parts) + "--=b=--"
    content_type = f'Content-Type: multipart/{kind}; boundary="=b="'
    return _mail(name, content_type, *lines, body=body, charset=charset)


def _part(content_type: str, body: str, *lines: str) -> str:
    return CRLF.join([f"Content-Type: {content_type}", *lines, "", body])


def _file(name: str, content: bytes, *lines: str, behind: str = "", kind: str = "application/pdf") -> str:
    encoded = base64.encodebytes(content).decode().replace("\n", CRLF) + behind
    disposition = f"Content-Disposition: attachment; filename={name}"
    return _part(kind, encoded, "Content-Transfer-Encoding: base64", *(lines or (disposition,)))


INVOICE = b"%PDF-1.4 the invoice"
TERMS = b"%PDF-1.4 terms and conditions"
LOGO = b"\x89PNG\r\n\x1a\n the logo"
SCAN = b"%PDF-1.4 a scan from Canton"

MAILS: dict[str, bytes] = {
    "plain": _mail("plain", body="An ordinary mail about coffee."),
    # Lost, with every field: the header names the charset.
    "lost": _mail(
        "lost",
        "Subject: =?ISO-8859-1?Q?R=E9sum=E9_of_Ren=E9?=",
        "From: =?ISO-8859-1?Q?Ren=E9?= <rene@firma.test>",
        "Content-Type: text/plain; charset=ISO-8859-1",
        body="Voilà: une pièce de théâtre.",
        charset="latin-1",
    ),
    "answer to lost": _mail("answer-to-lost", "In-Reply-To: <lost@mails.test>"),
    "answer to the answer": _mail(
        "answer-to-the-answer",
        "In-Reply-To: <answer-to-lost@mails.test>",
        "References: <lost@mails.test> <answer-to-lost@mails.test>",
    ),
    # Lost in the middle of a conversation: what answers it names nothing else.
    "question": _mail("question"),
    "lost answer": _mail(
        "lost-answer",
        "In-Reply-To: <question@mails.test>",
        "References: <question@mails.test>",
        "Subject: =?ISO-8859-9?Q?Yan=FDt?=",
        "Content-Type: text/plain; charset=ISO-8859-9",
        body="yanıt",
        charset="iso-8859-9",
    ),
    "answer to lost answer": _mail("answer-to-lost-answer", "In-Reply-To: <lost-answer@mails.test>"),
    "lost with files": _multipart(
        "lost-with-files",
        "mixed",
        [
            _part("text/html; charset=GB2312", "<p>中文 <b>text</b></p>"),
            _file("scan.pdf", SCAN),
            _file("terms.pdf", TERMS),
        ],
        charset="gb2312",
    ),
    # Read, but numbered as a later reader may not: a named text, an image of the HTML, a detached signature.
    "files": _multipart(
        "files",
        "mixed",
        [
            _part("text/html; charset=utf-8", '<p>Files</p><img src="cid:logo@x">'),
            _part("text/plain; charset=utf-8; name=note.txt", "a note with a name"),
            _file("logo.png", LOGO, "Content-ID: <logo@x>", "Content-Disposition: inline", kind="image/png"),
            _file("invoice.pdf", INVOICE),
            _file("smime.p7s", b"detached signature", kind="application/pkcs7-signature"),
        ],
    ),
    "related": _multipart(
        "related",
        "related",
        [
            _part("text/html; charset=utf-8", "<p>see the invoice</p>"),
            _file("", INVOICE, "Content-ID: <unused@x>"),
            _part("text/html; charset=utf-8", "<p>another page</p>", "Content-ID: <page@x>"),
        ],
    ),
    "single named text": _mail(
        "single-named-text",
        "Content-Type: text/plain; charset=utf-8; name=letter.txt",
        "Content-Disposition: attachment; filename=letter.txt",
        body="The whole mail is this letter about tea.",
    ),
    "footer": _multipart(
        "footer",
        "mixed",
        [
            _part("text/plain; charset=utf-8", "with a footer pasted by a mailing list"),
            _file(
                "terms.pdf",
                TERMS,
                behind=f"_____{CRLF}list mailing list{CRLF}list@lists.test{CRLF}",
            ),
            _part(
                "application/octet-stream; name=a.txt",
                f"begin 644 a.txt{CRLF}#86)C{CRLF}`{CRLF}end",
                "Content-Transfer-Encoding: x-uuencode",
            ),
        ],
    ),
    "processed": _mail("processed", "Content-Type: text/plain; charset=Big5", body="已處理", charset="big5"),
    "deleted": _mail("deleted", "Content-Type: text/plain; charset=EUC-KR", body="삭제", charset="euc-kr"),
}
