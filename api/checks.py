"""The books and the backlog, checked: `footwork check` by hand, the clock every fifteen minutes."""

from infra import db, outbox, telemetry
from infra.settings import settings
from jobs import jobs, submissions
from payouts import rails, reconcile
from payouts.reconcile import Violation

BOOKS = "books"  # subject of the events that keep what each check found
CHECKED = "books.checked"

_log = telemetry.log(__name__)


def violations() -> list[Violation]:
    """Every rule of the books that does not hold now. Asks the rail first, then looks at one moment of the database."""
    rail = settings().cashout_rail
    statement = None if rail == "none" else rails.named(rail).statement()
    with db.transaction() as session:
        reconcile.freeze(session)
        found = reconcile.check(
            session,
            expected_escrow=jobs.expected_escrow(session),
            owed=submissions.owed(session),
            statement=statement,
        )
        given_up = outbox.backlog(session)["failed"]
    if given_up:
        rows = ["event_calls, mend the cause, then `footwork retry`"]
        found.append(Violation("background functions given up", rows, expected="0", found=str(given_up)))
    return found


def run() -> list[Violation]:
    """Check, and say so in the log and in an event, from which the metrics read it."""
    found = violations()
    with db.transaction() as session:
        rules = [violation.rule for violation in found]
        outbox.record(session, CHECKED, subject=BOOKS, data={"violations": len(found), "rules": rules})
    for violation in found:
        _log.error("the books do not hold", rule=violation.rule, rows=list(violation.rows), found=violation.found)
    return found
