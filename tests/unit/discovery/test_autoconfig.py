"""The file in which a domain describes its servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.discovery import autoconfig
from app.services.discovery.candidates import FoundServer
from app.states import Security

ADDRESS = "jana@firma.cz"
FILE = """<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="firma.cz">
    <domain>firma.cz</domain>
    <incomingServer type="pop3">
      <hostname>pop.firma.cz</hostname><port>995</port><socketType>SSL</socketType>
      <username>%EMAILADDRESS%</username><authentication>password-cleartext</authentication>
    </incomingServer>
    <incomingServer type="imap">
      <hostname>IMAP.%EMAILDOMAIN%.</hostname><port> 993 </port><socketType>SSL</socketType>
      <username>%EMAILLOCALPART%</username><authentication>OAuth2</authentication>
      <authentication>password-cleartext</authentication>
    </incomingServer>
    <incomingServer type="imap">
      <hostname>imap.firma.cz</hostname><port>143</port><socketType>plain</socketType>
      <username>%EMAILADDRESS%</username><authentication>password-cleartext</authentication>
    </incomingServer>
    <outgoingServer type="smtp">
      <hostname>smtp.firma.cz</hostname><port>587</port><socketType>STARTTLS</socketType>
      <username>%EMAILADDRESS%</username><authentication>password-encrypted</authentication>
    </outgoingServer>
  </emailProvider>
</clientConfig>
"""


def test_names_the_servers_with_tls_and_the_user_names() -> None:
    found = autoconfig.read(FILE.encode(), ADDRESS)
    [imap], [smtp] = found["imap"], found["smtp"]
    assert imap.server == FoundServer("imap.firma.cz", 993, Security.TLS, "jana")
    assert smtp.server == FoundServer("smtp.firma.cz", 587, Security.STARTTLS, ADDRESS)
    assert (imap.auth, smtp.auth) == (["password"], ["password"])


def test_a_server_that_takes_no_password_says_so() -> None:
    only_oauth = FILE.replace("<authentication>password-cleartext</authentication>", "")
    [imap, *_] = autoconfig.read(only_oauth.encode(), ADDRESS)["imap"]
    assert imap.auth == []


@pytest.mark.parametrize(
    "bad",
    [
        FILE.replace("<clientConfig", '<!DOCTYPE x [<!ENTITY a "aaaa">]><clientConfig'),
        FILE.replace("<clientConfig", '<!DOCTYPE x SYSTEM "file:///etc/passwd"><clientConfig'),
        FILE[:400],
        "<a>" * 50 + "</a>" * 50,
        FILE.replace("UTF-8", "no-such-encoding"),
        "",
        "<html><body>Welcome!</body></html>",
    ],
    ids=["entities", "outside", "cut", "deep", "encoding", "empty", "html"],
)
def test_a_file_of_another_kind_names_nothing(bad: str) -> None:
    assert autoconfig.read(bad.encode(), ADDRESS) == {"imap": [], "smtp": []}


@pytest.mark.parametrize("port", ["", "x", "-1", "٩٩٣", "9" * 5000])
def test_a_port_that_is_none_never_raises(port: str) -> None:
    found = autoconfig.read(FILE.replace(" 993 ", port).encode(), ADDRESS)["imap"]
    assert all(1 <= each.server.port <= 65535 for each in found)


@given(st.binary(max_size=200))
def test_no_octets_raise(octets: bytes) -> None:
    assert set(autoconfig.read(octets, ADDRESS)) == {"imap", "smtp"}


def test_no_more_servers_than_a_few() -> None:
    start, end = FILE.index('    <incomingServer type="imap">'), FILE.index("    <outgoingServer")
    many = FILE[:start] + FILE[start:end] * 100 + FILE[end:]
    assert len(autoconfig.read(many.encode(), ADDRESS)["imap"]) == autoconfig.MAX_SERVERS
