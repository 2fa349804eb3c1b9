"""Something to try things out with: a buyer, an admin, a worker. Planting twice gives new keys to the same people."""

from dataclasses import dataclass

import pyotp
from sqlalchemy import select

from api.auth import keys
from api.auth import staff as people
from infra import clock, db, ids
from infra.errors import Forbidden
from infra.settings import settings
from jobs import organizations
from jobs.models import Organization
from payouts import wallets
from tiering import workers

BUYER = "Demo Maps Ltd"
BUYER_EMAIL = "buyer@example.org"
WORKER_EMAIL = "worker@example.org"
STAFF_EMAIL = "admin@example.org"
STAFF_PASSWORD = "development-only"  # noqa: S105 - seeds are refused in production
STAFF_TOTP = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PLAY_MONEY_CENTS = 100_000


class NotInProduction(Forbidden):
    """Seeds have well-known passwords and are not for production."""


@dataclass(frozen=True)
class Planted:
    """What was planted, with secrets that are shown only now."""

    organization: str
    api_key: str

    def as_text(self) -> str:
        """For people."""
        return (
            f"buyer    {BUYER} ({self.organization})\n"
            f"  key    {self.api_key}\n"
            f"worker   {WORKER_EMAIL}: POST /v1/worker/auth/codes, then read the code in {settings().data_folder}/mail\n"
            f"staff    {STAFF_EMAIL}, password {STAFF_PASSWORD}, TOTP secret {STAFF_TOTP}\n"
            f"  code   {pyotp.TOTP(STAFF_TOTP).now()} (for the next seconds)"
        )


def plant() -> Planted:
    """
    Make what is missing, and a fresh key.

    :raises NotInProduction: never there
    """
    if settings().env == "production":
        raise NotInProduction
    now = clock.now()
    with db.transaction() as session:
        organization = session.scalars(select(Organization).where(Organization.name == BUYER)).first()
        if organization is None:
            organization = organizations.found(session, name=BUYER, members=[BUYER_EMAIL], now=now)
        wallets.top_up(
            session, organization_id=organization.id, cents=PLAY_MONEY_CENTS, cause=f"seed:{organization.id}", now=now
        )
        _, secret = keys.issue(session, organization.id, "development", keys.SCOPES, "live", now)
        workers.sign_up(session, email=WORKER_EMAIL, now=now)
        if not people.exists(session, STAFF_EMAIL):
            people.add(session, STAFF_EMAIL, STAFF_PASSWORD, "admin", now=now, secret=STAFF_TOTP)
    return Planted(ids.show("org", organization.id), secret)
