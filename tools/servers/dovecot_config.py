"""Dovecot's configuration for tests, in the 2.3 and the 2.4 language (run with 2.3.19.1 and 2.4.1).

Common to both: all of it runs as one account without root, so nothing is chrooted and every login, internal and
mail process is that account; login and mail processes are reused, because starting one costs most of a login;
nothing is synced to disk; a wrong password is refused at once, and the next login from there does not wait.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tools.servers.process import Account

MailFormat = Literal["maildir", "mdbox"]
SPECIAL_USE: Mapping[str, str] = {
    "Trash": "\\Trash",
    "Sent": "\\Sent",
    "Drafts": "\\Drafts",
    "Junk": "\\Junk",
}


@dataclass(frozen=True)
class DovecotConfig:
    """What a Dovecot for tests can be asked for."""

    folder: Path
    account: Account
    password: str
    mail_format: MailFormat
    separator: str
    certificate: Path | None  # chain, then key
    folders: Mapping[str, str] = field(default_factory=lambda: SPECIAL_USE)  # name → special use, "" for none
    extra: str = ""  # further settings, in the language of the version that runs

    def text(self, version: tuple[int, int], port: int, tls_port: int) -> str:
        """The file for the version; `tls_port` is unused without a certificate."""
        write = self._in_2_4 if version >= (2, 4) else self._in_2_3
        return write(port, tls_port if self.certificate else 0)

    def _in_2_3(self, port: int, tls_port: int) -> str:
        suffix = "maildir:~/Maildir" if self.mail_format == "maildir" else "mdbox:~/mdbox"
        tls = f"ssl = yes\nssl_cert = <{self.certificate}\nssl_key = <{self.certificate}"
        return f"""\
{self._shared()}
protocols = imap
import_environment = TZ LD_LIBRARY_PATH
disable_plaintext_auth = no
mail_location = {suffix}
mail_save_crlf = yes
{tls if self.certificate else "ssl = no"}
passdb {{
  driver = static
  args = password={self.password}
}}
userdb {{
  driver = static
  args = uid={self.account.uid} gid={self.account.gid} home={self.folder}/mail/%u
}}
{self._services(port, tls_port, reuse="service_count", unlimited="0", listen="address")}
{self._namespace()}
{self.extra}
"""

    def _in_2_4(self, port: int, tls_port: int) -> str:
        path = "~/Maildir" if self.mail_format == "maildir" else "~/mdbox"
        tls = (
            f"ssl = yes\nssl_server_cert_file = {self.certificate}\nssl_server_key_file = {self.certificate}"
        )
        return f"""\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
{self._shared()}
protocols = imap
import_environment {{
  LD_LIBRARY_PATH = %{{env:LD_LIBRARY_PATH}}
}}
auth_allow_cleartext = yes
mail_driver = {self.mail_format}
mail_path = {path}
mail_save_crlf = yes
{tls if self.certificate else "ssl = no"}
passdb static {{
  password = {self.password}
}}
userdb static {{
  fields {{
    uid = {self.account.uid}
    gid = {self.account.gid}
    home = {self.folder}/mail/%{{user}}
  }}
}}
{self._services(port, tls_port, reuse="restart_request_count", unlimited="unlimited", listen="listen")}
{self._namespace()}
{self.extra}
"""

    def _shared(self) -> str:
        return f"""\
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/dovecot.log
default_login_user = {self.account.name}
default_internal_user = {self.account.name}
default_internal_group = {self.account.group}
first_valid_uid = 1
first_valid_gid = 1
auth_failure_delay = 0
mail_fsync = never
mail_max_userip_connections = 1000"""

    def _services(self, port: int, tls_port: int, *, reuse: str, unlimited: str, listen: str) -> str:
        return f"""\
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  {reuse} = {unlimited}
  client_limit = 500
  inet_listener imap {{
    {listen} = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    {listen} = 127.0.0.1
    port = {tls_port}
  }}
}}
service imap {{
  {reuse} = 1000
  process_limit = 500
}}"""

    def _namespace(self) -> str:
        mailboxes = "\n".join(
            f'  mailbox "{name}" {{\n    auto = create\n'
            + (f"    special_use = {use}\n" if use else "")
            + "  }"
            for name, use in self.folders.items()
        )
        return f"namespace inbox {{\n  inbox = yes\n  separator = {self.separator}\n{mailboxes}\n}}"
