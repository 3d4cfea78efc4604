"""Sides of TLS for servers that nobody should believe, and one that everybody may."""

import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

LONG_AGO, NEXT_CENTURY = datetime(2020, 3, 1, tzinfo=UTC), datetime(2090, 3, 1, tzinfo=UTC)
OTHER_NAMES = ("imap.firma.cz", "smtp.firma.cz", "*.posta.firma.cz")


class BadCertificates:
    """Contexts by what is wrong with them; clients are to trust `authority_file` and no other."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.authority_file = folder / "trusted.pem"
        self._authority.cert_pem.write_to_path(str(self.authority_file))
        day = timedelta(days=1)
        self.good = self._context(self._authority.issue_cert("localhost"))
        self.expired = self._context(
            self._authority.issue_cert("localhost", not_before=LONG_AGO - day, not_after=LONG_AGO)
        )
        self.not_yet_valid = self._context(
            self._authority.issue_cert("localhost", not_before=NEXT_CENTURY, not_after=NEXT_CENTURY + day)
        )
        self.other_name = self._context(self._authority.issue_cert(*OTHER_NAMES))
        self.issuer_unknown = self._context(trustme.CA().issue_cert("localhost"))
        self.self_signed = self._self_signed(folder / "self-signed.pem")
        self.old_version = self._context(self._authority.issue_cert("localhost"))
        with warnings.catch_warnings(action="ignore"):
            self.old_version.set_ciphers("ALL:@SECLEVEL=0")
            self.old_version.minimum_version = ssl.TLSVersion.TLSv1
            self.old_version.maximum_version = ssl.TLSVersion.TLSv1

    @staticmethod
    def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    @staticmethod
    def _self_signed(path: Path) -> ssl.SSLContext:
        authority = trustme.CA()
        authority.private_key_pem.write_to_path(str(path))
        authority.cert_pem.write_to_path(str(path), append=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context
