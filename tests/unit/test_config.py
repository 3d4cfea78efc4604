"""Settings come from the environment, wrong ones are named, and no secret shows."""

import ipaddress
from pathlib import Path

import pytest

from app.config import Settings, unknown_names
from app.errors import SettingsIncomplete

KEY = "k" * 32


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)
    return Settings.from_environment()


def test_nothing_private_is_allowed_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(monkeypatch)
    assert made.allowed_private_networks == ()
    assert made.database_url == "sqlite:///./gateway.db"
    assert (made.poll_interval_s, made.lease_s, made.command_timeout_s) == (60, 30, 60)


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(
        monkeypatch,
        SECRET_KEYS=f"{KEY}, {KEY[::-1]}x ,",
        ALLOWED_PRIVATE_NETWORKS="10.0.0.0/8,fd00::/8",
        MAIL_PORTS="993,465",
    )
    assert [key.get_secret_value() for key in made.secret_keys] == [KEY, KEY + "x"]
    assert made.allowed_private_networks == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("fd00::/8"),
    )
    assert made.mail_ports == (993, 465)


def test_origins_are_written_as_browsers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch).cors_origins == ()
    assert settings(monkeypatch, CORS_ORIGINS="").cors_origins == ()
    made = settings(
        monkeypatch,
        CORS_ORIGINS="https://Mail.Example.com, https://a.example:443,http://a.example:80,http://localhost:5173,"
        "https://10.0.0.8:8443,http://[::1]:3000,https://xn--pota-p1a.example",
    )
    assert made.cors_origins == (
        "https://mail.example.com",
        "https://a.example",
        "http://a.example",
        "http://localhost:5173",
        "https://10.0.0.8:8443",
        "http://[::1]:3000",
        "https://xn--pota-p1a.example",
    )


def test_a_wrong_origin_is_told_what_one_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsIncomplete, match="GATEWAY_CORS_ORIGINS: each must be scheme://host"):
        settings(monkeypatch, CORS_ORIGINS="https://mail.example/")


def test_an_empty_text_is_an_empty_list_or_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(monkeypatch, SECRET_KEYS="", ALLOWED_PRIVATE_NETWORKS="", JWT_SECRET="", PUBLIC_URL="")
    assert made.secret_keys == ()
    assert made.allowed_private_networks == ()
    assert made.jwt_secret is None
    assert made.public_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEYS", f"{KEY},too-short-a-key"),
        ("JWT_SECRET", "31-bytes-are-too-short-for-this"),
        ("JWT_JWKS_URL", "ftp://idp.example/keys"),
        ("JWT_GROUPS_CLAIM", ""),
        ("DATABASE_URL", "mysql://user:hunter2@host/db"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("ALLOWED_PRIVATE_NETWORKS", "10.0.0.0/8,nonsense"),
        ("MAIL_PORTS", "993,70000"),
        ("POLL_INTERVAL_S", "0"),
        ("LEASE_S", "x"),
        ("COMMAND_TIMEOUT_S", "0"),
        ("FETCH_THREADS", "0"),
        ("PUBLIC_URL", "mail.example"),
        *(
            ("CORS_ORIGINS", wrong)
            for wrong in (
                "*",
                "null",
                "mail.example",
                "https://*.example",
                "https://mail.example/",
                "https://mail.example/app",
                "https://mail.example?x",
                "https://user@mail.example",
                "https://mail.example:x",
                "https://.example",
                "https://mail.example https://other.example",
                "https://pošta.example",
                "ftp://mail.example",
                "https://mail.example,https://",
            )
        ),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsIncomplete) as refused:
        settings(monkeypatch, **{name: value})
    assert f"GATEWAY_{name}: " in refused.value.detail
    for secret in ("too-short-a-key", "31-bytes", "hunter2"):
        assert secret not in refused.value.detail


def test_a_jwks_address_needs_issuer_and_audience_and_no_secret_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsIncomplete, match="JWT_ISSUER and JWT_AUDIENCE"):
        settings(monkeypatch, JWT_JWKS_URL="https://idp.example/keys")
    with pytest.raises(SettingsIncomplete, match="not both"):
        settings(monkeypatch, JWT_SECRET=KEY, JWT_ISSUER="https://idp.example", JWT_AUDIENCE="imap-gateway")


def test_serving_needs_keys_and_a_way_to_verify_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsIncomplete) as refused:
        settings(monkeypatch).require_serving()
    for hint in ("GATEWAY_SECRET_KEYS", "generate-secret", "GATEWAY_JWT_SECRET or GATEWAY_JWT_JWKS_URL"):
        assert hint in refused.value.detail
    settings(monkeypatch, SECRET_KEYS=KEY, JWT_SECRET=KEY).require_serving()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_a_postgresql_address_uses_the_installed_driver(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    made = settings(monkeypatch, DATABASE_URL=f"{scheme}://u:p@h/db")
    assert made.database_url == "postgresql+psycopg://u:p@h/db"


def test_no_secret_shows_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(
        monkeypatch, SECRET_KEYS=KEY, JWT_SECRET=KEY, DATABASE_URL="postgresql://gateway:hunter2@db/mail"
    )
    assert KEY not in repr(made)
    assert "hunter2" not in repr(made)


def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("keys", f"{KEY}\n"), ("jwt", f"{KEY[::-1]}x"), ("url", "sqlite:///other.db\n")):
        (tmp_path / name).write_text(value)
    made = settings(
        monkeypatch,
        SECRET_KEYS_FILE=str(tmp_path / "keys"),
        JWT_SECRET_FILE=str(tmp_path / "jwt"),
        DATABASE_URL_FILE=str(tmp_path / "url"),
        JWT_SECRET="",
    )
    assert [key.get_secret_value() for key in made.secret_keys] == [KEY]
    assert made.jwt_secret is not None
    assert made.jwt_secret.get_secret_value() == KEY + "x"
    assert made.database_url == "sqlite:///other.db"


def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text(KEY)
    with pytest.raises(SettingsIncomplete, match="GATEWAY_JWT_SECRET or GATEWAY_JWT_SECRET_FILE, not both"):
        settings(monkeypatch, JWT_SECRET=KEY, JWT_SECRET_FILE=str(tmp_path / "jwt"))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_secret_file_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "jwt").write_bytes(content)
    with pytest.raises(SettingsIncomplete, match=r"^GATEWAY_JWT_SECRET_FILE: the file cannot be read: "):
        settings(monkeypatch, JWT_SECRET_FILE=str(tmp_path / "jwt"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("POLL_INTERVAL", "POLL_INTERVAL_S"),
        ("SECRET_KEY", "SECRET_KEYS"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("JWT_SECRETS", "JWT_SECRET"),
        ("ALLOWED_PRIVATE_NETWORK", "ALLOWED_PRIVATE_NETWORKS"),
        ("JWT_JWKS_URI", "JWT_JWKS_URL"),
        ("SECRET_KEYS_FILES", "SECRET_KEYS_FILE"),
    ],
)
def test_a_slip_of_the_pen_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    with pytest.raises(SettingsIncomplete, match=f"^GATEWAY_{name} is no setting; GATEWAY_{meant} is$"):
        settings(monkeypatch, **{name: "1"})


def test_names_of_other_programs_with_our_prefix_are_not_misspelt_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kubernetes puts these into every container of a namespace with a service called `gateway`."""
    theirs = ["PORT", "PORT_8000_TCP", "PORT_8000_TCP_ADDR", "PORT_8000_TCP_PORT", "PORT_8000_TCP_PROTO"]
    theirs += ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP"]
    assert settings(monkeypatch, **dict.fromkeys(theirs, "tcp://10.0.0.1:8000")) == Settings()
    assert unknown_names() == sorted(f"GATEWAY_{name}" for name in theirs)


def test_the_environment_takes_precedence_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        'export GATEWAY_POLL_INTERVAL_S="5"\nGATEWAY_LEASE_S=7\nOTHER=1\nGATEWAY_ODD=x\n'
    )
    monkeypatch.setenv("GATEWAY_LEASE_S", "9")
    made = Settings.from_environment(env_file=tmp_path / ".env")
    assert (made.poll_interval_s, made.lease_s) == (5, 9)
    assert unknown_names(tmp_path / ".env") == ["GATEWAY_ODD"]
    assert Settings.from_environment().poll_interval_s == 60


def test_settings_that_are_made_from_arguments_do_not_read_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("GATEWAY_LEASE_S=7\n")
    monkeypatch.setenv("GATEWAY_POLL_INTERVAL_S", "5")
    made = Settings(fetch_threads=3)
    assert (made.fetch_threads, made.poll_interval_s, made.lease_s) == (3, 60, 30)
