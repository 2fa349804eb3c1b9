"""
Every setting, typed, in one place. Each is read from the environment variable `FOOTWORK_` + its name in capitals (or `.env`).

The defaults of the rules are the numbers of the product; what has no default must be given.
"""

import ipaddress
import os
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "FOOTWORK_"
DEVELOPMENT_SECRET = "development-only-secret-key-change-me"  # noqa: S105 - refused in production below


class TierGate(BaseModel):
    """What a worker needs for a tier: share of scored submissions with 3 stars or more, and how many are scored."""

    approval_rate: float = Field(ge=0, le=1)
    scored: int = Field(ge=0)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore")

    # -- where the parts are ---------------------------------------------------------------------------------------------
    env: Literal["development", "test", "production"] = "development"
    database_url: str = Field(description="postgresql+psycopg://user:password@host:port/name")
    redis_url: str = Field(description="redis://host:port/number, rediss:// for TLS, or unix:///path")
    s3_endpoint: str = Field(description="address of the S3-compatible server, as the API and workers reach it")
    s3_public_endpoint: str | None = Field(
        None, description="the same server as phones reach it; presigned URLs name it"
    )
    s3_region: str = "us-east-1"
    s3_bucket: str = "footwork"
    s3_access_key: str
    s3_secret_key: SecretStr
    secret_key: SecretStr = Field(
        SecretStr(DEVELOPMENT_SECRET), description="at least 32 characters, the same everywhere"
    )
    public_url: AnyHttpUrl = Field(AnyHttpUrl("http://127.0.0.1:8000"), description="how clients reach the API")
    data_folder: Path = Field(Path(".data"), description="index files, mail outbox, embedded services")

    # -- machine ---------------------------------------------------------------------------------------------------------
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    trusted_proxies: str = Field(
        "127.0.0.1", description="addresses or networks, with commas, whose X-Forwarded-For is believed"
    )
    threads: int = Field(
        16, ge=1, le=256, description="handler threads of one API process; its database pool is as large"
    )
    statement_timeout_ms: int = Field(10_000, ge=100)
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    call_seconds: int = Field(60, ge=5, description="time limit of one background function")
    call_memory_mb: int = Field(3_072, ge=512, description="address space of one work horse")
    call_deaths: int = Field(3, ge=1, description="work horses one call may kill before it is given up")
    call_hours: float = Field(
        24.0, gt=0, description="how long a call that keeps failing is tried before it is given up"
    )
    grace_seconds: float = Field(
        5.0, gt=0, description="how long the sweep leaves a bell alone before ringing it again"
    )

    # -- mail, sign-in, limits of use ------------------------------------------------------------------------------------
    smtp_url: str | None = Field(
        None, description="smtp://user:password@host:port; without it mail lands in data_folder/mail"
    )
    mail_from: str = "Footwork <no-reply@footwork.example>"
    login_code_minutes: int = Field(10, ge=1)
    access_token_minutes: int = Field(15, ge=1)
    refresh_token_days: int = Field(30, ge=1)
    staff_session_hours: int = Field(8, ge=1)
    requests_per_minute: int = Field(600, ge=1, description="per API key, worker or staff member")
    anonymous_requests_per_minute: int = Field(60, ge=1, description="per address, for sign-in and other open routes")
    idempotency_hours: int = Field(24, ge=1)
    cors_origins: list[str] = Field(default_factory=list, description="origins of browser apps; none by default")

    # -- outgoing --------------------------------------------------------------------------------------------------------
    webhook_private_addresses: bool = Field(
        False, description="deliver to http and loopback too; refused in production"
    )
    webhook_timeout_seconds: float = Field(10.0, gt=0, le=60)

    # -- jobs and work ---------------------------------------------------------------------------------------------------
    high_value_cents: int = Field(1_000, ge=1, description="jobs from this price are for Gold and Diamond")
    open_claims: int = Field(5, ge=1, description="claims one worker may hold at once")
    image_bytes: int = Field(50 * 1024 * 1024, ge=1)
    image_pixels: int = Field(120_000_000, ge=1)
    upload_minutes: int = Field(60, ge=1, description="how long a presigned upload address is good")
    verdict_minutes: int = Field(15, ge=1, description="a submission pending longer than this goes to a human")
    review_hours: int = Field(24, ge=1, description="deadline of a review")

    # -- tiering ---------------------------------------------------------------------------------------------------------
    window_silver_seconds: float = Field(60, ge=0)
    window_everyone_seconds: float = Field(300, ge=0)
    tier_bronze: TierGate = TierGate(approval_rate=0.60, scored=10)
    tier_silver: TierGate = TierGate(approval_rate=0.75, scored=50)
    tier_gold: TierGate = TierGate(approval_rate=0.85, scored=150)
    tier_diamond: TierGate = TierGate(approval_rate=0.92, scored=500)
    tier_history: int = Field(500, ge=1, description="scored submissions that count for the approval rate")
    demotion_days: float = Field(7, ge=0)
    newcomer_share: float = Field(0.10, ge=0, le=1)
    newcomer_from_slots: int = Field(10, ge=1)
    newcomer_assignments: int = Field(3, ge=1)
    newcomer_minutes: float = Field(30, ge=0)
    daily_cap: int = Field(50, ge=1)
    daily_cap_from_silver: int = Field(75, ge=1)
    impossible_speed_kmh: float = Field(400, gt=0)
    strikes_to_ban: int = Field(3, ge=1)

    # -- quality ---------------------------------------------------------------------------------------------------------
    near_reject_distance: int = Field(31, ge=0, le=256)
    near_nominate_distance: int = Field(88, ge=0, le=256)
    near_reject_correlation: float = Field(0.5, ge=0, le=1)
    near_review_correlation: float = Field(0.3, ge=0, le=1)
    near_nominations: int = Field(20, ge=1)
    scorer_weights: dict[str, float] = Field(
        default_factory=dict, description="in the ensemble; 1 for what is not named"
    )
    shadow_gates: list[str] = Field(default_factory=list, description="gates that are recorded and do not act")

    # -- money -----------------------------------------------------------------------------------------------------------
    fee_percent: int = Field(20, ge=0, le=100)
    fee_on_top_percent: int = Field(20, ge=0, le=100)
    cashout_minimum_cents: int = Field(1_000, ge=1)
    cashout_rail: Literal["sandbox", "none"] = Field("sandbox", description="none: earnings wait; production wants it")
    sandbox_topup: bool = Field(True, description="buyers may top up play money; refused in production")

    @field_validator("s3_public_endpoint", "smtp_url")
    @classmethod
    def _nothing_for_empty(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("redis_url")
    @classmethod
    def _require_redis(cls, value: str) -> str:
        if value.startswith("unix:///"):
            return value
        return _require_server(value, "redis", "rediss", or_else=" or unix:///path")

    @field_validator("s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _require_web_server(cls, value: str | None) -> str | None:
        return value and _require_server(value, "http", "https")

    @field_validator("smtp_url")
    @classmethod
    def _require_mail_server(cls, value: str | None) -> str | None:
        return value and _require_server(value, "smtp", "smtps")

    @field_validator("trusted_proxies")
    @classmethod
    def _require_networks(cls, value: str) -> str:
        for proxy in value.split(","):
            ipaddress.ip_network(proxy.strip())
        return value

    @model_validator(mode="after")
    def _refuse_development_shortcuts_in_production(self) -> Self:
        if self.env == "production":
            wrong = [
                name
                for name, bad in {
                    "secret_key": self.secret_key.get_secret_value() == DEVELOPMENT_SECRET,
                    "webhook_private_addresses": self.webhook_private_addresses,
                    "sandbox_topup": self.sandbox_topup,
                    "cashout_rail": self.cashout_rail == "sandbox",
                }.items()
                if bad
            ]
            if wrong:
                names = ", ".join(PREFIX + name.upper() for name in wrong)
                raise ValueError(f"{names}: the development value is not allowed when {PREFIX}ENV=production")
            if self.smtp_url is None:
                raise ValueError(f"{PREFIX}SMTP_URL is missing: sign-in codes would stay in files on this machine")
        if len(self.secret_key.get_secret_value()) < 32:
            raise ValueError(f"{PREFIX}SECRET_KEY needs at least 32 characters")
        if not self.database_url.startswith("postgresql+psycopg://"):
            raise ValueError(f"{PREFIX}DATABASE_URL must start with postgresql+psycopg://")
        return self


def _require_server(url: str, *schemes: str, or_else: str = "") -> str:
    """The address, unless no server can be meant. What is said does not repeat it: there may be a password in it."""
    needed = f"must be {' or '.join(f'{scheme}://host:port' for scheme in schemes)}{or_else}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(needed) from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise ValueError(needed)
    return url


class BadSettings(SystemExit):
    """Settings are wrong or missing; the message names each."""


@lru_cache(maxsize=1)
def settings() -> Settings:
    """
    The settings of this process, read once.

    :raises BadSettings: names every wrong, missing or unknown variable
    """
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and name[len(PREFIX) :].lower() not in Settings.model_fields
    )
    if unknown:
        raise BadSettings(f"Unknown settings: {', '.join(unknown)}. See .env.example for the names.")
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"  {PREFIX + '__'.join(str(part) for part in fault['loc']).upper() + ' ' if fault['loc'] else ''}"
            + fault["msg"].removeprefix("Value error, ")
            for fault in error.errors()
        ]
        raise BadSettings("Settings are wrong or missing (see .env.example):\n" + "\n".join(lines)) from None
