"""Settings come from the environment, wrong ones are named, and no secret shows."""

import ipaddress

import pytest

from app.config import Settings
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
