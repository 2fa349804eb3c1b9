"""What money does when nobody waits for it: cashouts are sent, and asked about again."""

from uuid import UUID

from infra import clock, db, ids, outbox, states, telemetry
from payouts import cashouts, rails
from payouts.models import CASHOUT, Cashout
from payouts.rails import RailRefused, RailUnavailable

_log = telemetry.log(__name__)


def send(event_id: UUID) -> None:
    """
    On `cashout.requested`: pay it. May run twice and may die anywhere: the rail is asked again with the same key.

    :raises RailUnavailable: no answer; the cashout stays `sending`, and this call or the clock asks again
    """
    with db.transaction() as session:
        cashout_id = ids.read("csh", outbox.event(session, event_id).subject)
    _send(cashout_id, event_id)


def resume_overdue() -> None:
    """On the clock: send what was never sent, and ask again where no answer came."""
    with db.transaction() as session:
        overdue = session.scalars(states.overdue(Cashout, CASHOUT, clock.now())).all()
    for cashout_id in overdue:
        try:
            _send(cashout_id)
        except RailUnavailable as silence:
            _log.warning("rail did not answer", cashout=ids.show("csh", cashout_id), error=str(silence))
        except Exception:  # noqa: BLE001 - one cashout that cannot be sent must not hold up the others
            _log.exception("cashout not sent", cashout=ids.show("csh", cashout_id))


def _send(cashout_id: UUID, event_id: UUID | None = None) -> None:
    with db.transaction() as session:
        cashout = cashouts.begin(session, cashout_id, now=clock.now())
    if cashout is None:
        return
    try:
        receipt = rails.named(cashout.rail).send(cashouts.payment(cashout))
    except RailRefused as refusal:
        with db.transaction() as session:
            cashouts.fail(session, cashout_id, str(refusal), event_id=event_id, now=clock.now())
    else:
        with db.transaction() as session:
            cashouts.confirm(session, cashout_id, receipt, event_id=event_id, now=clock.now())
