"""Settings: what is wrong, missing or unknown is named at start; production refuses what is for development."""

import os

import pytest

from infra.settings import PREFIX, BadSettings, settings

REQUIRED = {
    "DATABASE_URL": "postgresql+psycopg://u:p@db:5432/footwork",
    "REDIS_URL": "redis://cache:6379/0",
    "S3_ENDPOINT": "https://s3.example.com",
    "S3_ACCESS_KEY": "a",
    "S3_SECRET_KEY": "s",
}
PRODUCTION = {
    **REQUIRED,
    "ENV": "production",
    "SECRET_KEY": "x" * 32,
    "SANDBOX_TOPUP": "false",
    "CASHOUT_RAIL": "none",
    "SMTP_URL": "smtp://user:secret@mail.example.com:587",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    settings.cache_clear()


def said(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> str:
    for name, value in values.items():
        monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(BadSettings) as refused:
        settings()
    return str(refused.value)


def test_every_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = said(monkeypatch, {})
    assert all(PREFIX + name in message for name in REQUIRED)
    assert ".env.example" in message


def test_a_wrong_and_an_unknown_variable_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"{PREFIX}PORT" in said(monkeypatch, {**REQUIRED, "PORT": "many"})
    assert f"{PREFIX}PROT" in said(monkeypatch, {**REQUIRED, "PROT": "8000"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "cache:6379"),
        ("REDIS_URL", "http://cache:6379"),
        ("REDIS_URL", "redis://:secret@:6379/0"),
        ("REDIS_URL", "redis://:secret@cache:many/0"),
        ("S3_ENDPOINT", "s3.example.com"),
        ("S3_ENDPOINT", "https://"),
        ("S3_PUBLIC_ENDPOINT", "ftp://s3.example.com"),
        ("SMTP_URL", "mail.example.com:587"),
        ("SMTP_URL", "https://user:secret@mail.example.com"),
        ("TRUSTED_PROXIES", "127.0.0.1, the proxy"),
    ],
)
def test_an_address_nobody_can_be_reached_at_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    message = said(monkeypatch, {**REQUIRED, name: value})
    assert PREFIX + name in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "rediss://user:secret@cache:6380/1"),
        ("REDIS_URL", "unix:///run/valkey.sock"),
        ("S3_ENDPOINT", "http://[::1]:8333"),
        ("S3_PUBLIC_ENDPOINT", ""),
        ("SMTP_URL", "smtps://mail.example.com"),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8, ::1"),
    ],
)
def test_every_address_that_may_be_meant_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for variable, given in {**REQUIRED, name: value}.items():
        monkeypatch.setenv(PREFIX + variable, given)
    assert getattr(settings(), name.lower()) == (value or None)
    settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "development-only-secret-key-change-me"),
        ("SECRET_KEY", "short"),
        ("WEBHOOK_PRIVATE_ADDRESSES", "true"),
        ("SANDBOX_TOPUP", "true"),
        ("CASHOUT_RAIL", "sandbox"),
        ("SMTP_URL", ""),
    ],
)
def test_production_refuses_what_is_for_development(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert PREFIX + name in said(monkeypatch, {**PRODUCTION, name: value})


def test_production_starts_with_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(PREFIX + name, value)
    assert settings().env == "production"
    settings.cache_clear()
