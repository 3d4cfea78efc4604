"""Certificates of the test servers, from a temporary authority that the tested clients can trust."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Files of the authority and of one server, valid for 127.0.0.1 and localhost."""

    authority_file: Path
    server_file: Path  # certificate chain, then key

    @classmethod
    def made_in(cls, folder: Path) -> "Certificates":
        """Make a new authority and server certificate in the folder."""
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        made = cls(folder / "authority.pem", folder / "server.pem")
        authority.cert_pem.write_to_path(made.authority_file)
        server.private_key_and_cert_chain_pem.write_to_path(made.server_file)
        return made

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts this authority and no other, and checks names."""
        return ssl.create_default_context(cafile=self.authority_file)

    def server_context(self) -> ssl.SSLContext:
        """A context for a server that shows the certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server_file)
        return context
