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
        ("SECRET_KEY", "development-only-secret-key-change-me"),
        ("SECRET_KEY", "short"),
        ("WEBHOOK_PRIVATE_ADDRESSES", "true"),
        ("SANDBOX_TOPUP", "true"),
        ("CASHOUT_RAIL", "sandbox"),
    ],
)
def test_production_refuses_what_is_for_development(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert PREFIX + name in said(monkeypatch, {**PRODUCTION, name: value})


def test_production_starts_with_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(PREFIX + name, value)
    assert settings().env == "production"
    settings.cache_clear()
