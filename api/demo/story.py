"""
The main job, played: a buyer orders photos, workers of every tier see the job in their turn and hand in what people hand
in, the gates decide, money moves, and the buyer's server hears of it.

Services, API, workers and clock are the real ones in processes of their own; everybody here talks to them over HTTP (what
is planted beforehand: `history.py`). What is claimed in the end is checked here, act by act (`claims.py`).
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from api import development
from api.demo import claims, history, photos, receiver, report
from api.demo import stage as stages
from api.demo.lookout import Lookout
from api.demo.phone import Json, Refused
from api.demo.photos import AUSTIN, PhotosMissing, Shot
from api.demo.progress import Progress
from api.demo.stage import EVERYONE, SILVER, Deed, Stage, StoryBroke
from infra import db, embedded, ids
from payouts import accounts, ledger, reconcile

DATA = Path(".data/demo")
ACTS = 13
PRICE, SLOTS = 999, 10  # cents: odd on purpose, and the highest price that is open to every tier
TOP_UP = 10_000
PROMPT = 2.0  # seconds within which a phone that looks twice a second sees what has opened
PATIENCE = 60  # seconds for a verdict or a cashout, on a busy machine
BANK_SAYS_NO = "account closed at the bank"


def play(folder: Path | None, out: Console) -> int:
    """
    Play it, and give an account.

    :param folder: photographs to play it with; None for the built-in ones
    :return: the exit code: 0 only if everything that was promised was checked and holds
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    book = claims.Claims()
    try:
        with Progress(out, ACTS) as progress:
            progress.act("looking at the photographs")
            shots = photos.choose(photos.of_folder(folder) if folder else photos.built_in())
            with stages.built(DATA, shots, book, progress, out) as stage:
                _perform(stage)
                progress.act("stopping everything")
            seconds = progress.seconds
    except KeyboardInterrupt:
        out.print("Stopped; nothing is left running.")
        return 130
    except PhotosMissing as missing:
        out.print(f"[red]✗[/] {missing}", highlight=False, soft_wrap=True)
        return 1
    except (
        StoryBroke,
        Refused,
        httpx.HTTPError,
        development.NotReady,
        development.PartEnded,
        embedded.AlreadyRunning,
        embedded.CannotStart,
    ) as trouble:
        report.broken(out, book, trouble, DATA / "logs")
        return 1
    report.account(out, stage, seconds, folder)
    return 0 if book.all_hold else 1


def _perform(stage: Stage) -> None:
    _tiers_follow_from_outcomes(stage)
    _buyer_orders(stage)
    _first_window(stage)
    _diamond_and_gold(stage)
    _second_window(stage)
    _last_window(stage)
    _person_decides(stage)
    _far_away(stage)
    _buyer_cancels(stage)
    _cashouts(stage)
    _news(stage)
    _books(stage)


# -- the order -------------------------------------------------------------------------------------------------------------


def _tiers_follow_from_outcomes(stage: Stage) -> None:
    for tier, phone in stage.phones.items():
        standing = stage.standings[tier] = phone.call("GET", "/v1/worker/standing")
        past = history.PASTS[tier]
        stage.claims.check("tiers", standing["tier"] == tier and standing["scored"] == past.scored)
    above = [tier for tier, past in history.PASTS.items() if past.scored]
    stage.claims.check("tiers", True, f"{', '.join(above)} from planted outcomes; new has none")


def _buyer_orders(stage: Stage) -> None:
    stage.progress.act("the buyer orders")
    buyer = stage.buyer
    endpoint = buyer.call("POST", "/v1/webhook-endpoints", {"url": stage.receiver.url})
    stage.webhook_secret = endpoint["secret"]
    stage.job = buyer.post_job(
        title="Photos of everyday things in Austin",
        description="One clear photo of one thing, the whole of it in the picture.",
        files_needed=SLOTS,
        price_per_file_cents=PRICE,
        min_width=photos.MIN_WIDTH,
        min_height=photos.MIN_HEIGHT,
        location={"latitude": AUSTIN[0], "longitude": AUSTIN[1], "radius_km": 15},
        publish=False,
    )
    refusal = _refusal(lambda: buyer.call("POST", f"/v1/jobs/{stage.job_id}/publish"))
    stage.claims.check("short_wallet", refusal is not None and refusal.status == 402, _words(refusal))
    buyer.top_up(TOP_UP)
    stage.lookouts = {tier: Lookout(phone, stage.job_id) for tier, phone in stage.phones.items()}
    stage.lookouts["elsewhere"] = Lookout(stage.elsewhere, stage.job_id, until_seen=False)
    for lookout in stage.lookouts.values():
        lookout.start()
    stage.job = buyer.call("POST", f"/v1/jobs/{stage.job_id}/publish")
    stage.progress.note(f"published: {SLOTS} photos for {PRICE} cents each, 15 km around Austin")
    _check_escrow(stage, open_slots=SLOTS)


# -- the windows -----------------------------------------------------------------------------------------------------------


def _first_window(stage: Stage) -> None:
    stage.progress.act("first window: diamond and gold")
    refusal = _refusal(lambda: stage.phones["bronze"].claim(stage.job_id))
    early = refusal is not None and refusal.status == 403 and _codes(refusal) == ["window-not-open"]
    stage.claims.check("early_claim", early, _words(refusal))
    _check_window(stage, "first_window", ("diamond", "gold"), opens=0)


def _second_window(stage: Stage) -> None:
    stage.progress.act("second window: silver")
    _check_window(stage, "second_window", ("silver",), opens=SILVER)
    thing = stage.shots[4]
    small = _hand_in(stage, "silver", photos.shrunk(thing))
    stage.claims.check(
        "too_small",
        _refused_by(small, "resolution", "too_small")
        and _charged(stage, small) == 0
        and _strikes(stage, "silver") == 0,
        f"{_measured(small)} of at least {_limit(small)}, charged 0",
    )
    assignment = stage.phones["silver"].claim(stage.job_id)
    first = _hand_in(stage, "silver", photos.blurred(thing), assignment)
    again = _hand_in(stage, "silver", thing, assignment, "second try, sharp")
    stage.claims.check(
        "retry",
        first["state"] == "rejected"
        and first["stars"] == 2
        and first["retry"]
        and again["attempt"] == 2
        and _paid(stage, again)
        and first["assignment_id"] == again["assignment_id"],
        f"{first['stars']} stars, then {again['stars']}",
    )


def _last_window(stage: Stage) -> None:
    stage.progress.act("last window: bronze and new")
    _check_window(stage, "last_window", ("bronze", "new"), opens=EVERYONE)
    newcomer = _hand_in(stage, "new", stage.shots[6])
    stage.claims.check("newcomer", _paid(stage, newcomer), f"{newcomer['stars']} stars, paid {newcomer['pay_cents']}")


def _check_window(stage: Stage, claim: str, tiers: tuple[str, ...], *, opens: float) -> None:
    seen = {tier: _first_sight(stage, tier) for tier in tiers}
    for tier, seconds in seen.items():
        stage.claims.check(claim, opens <= seconds <= opens + PROMPT, f"{tier} after {seconds:.1f} s")


def _first_sight(stage: Stage, tier: str) -> float:
    """Seconds from publication until this worker's feed showed the job."""
    lookout = stage.lookouts[tier]
    stages.await_true(stage, f"the first sight of the job by {tier}", lambda: lookout.over, EVERYONE + PATIENCE)
    seconds = stage.since_publication(lookout.first_seen)
    if seconds is None:
        raise StoryBroke(f"{tier} could not read the feed: {lookout.trouble}")
    stage.progress.note(f"{tier} sees the job {seconds:.1f} s after publication")
    return seconds


# -- what is handed in -----------------------------------------------------------------------------------------------------


def _diamond_and_gold(stage: Stage) -> None:
    stage.progress.act("diamond and gold hand in")
    first, second, third, fourth = stage.shots[:4]
    good = _hand_in(stage, "diamond", first)
    stage.claims.check("paid", _paid(stage, good), f"{good['stars']} stars, paid {good['pay_cents']}")
    copy = _hand_in(stage, "diamond", first, what=f"{first.name} again, the same file")
    stage.claims.check(
        "exact_copy", _refused_by(copy, "content_hash", "exact_copy") and _strikes(stage, "diamond") == 0
    )
    mirror = _hand_in(stage, "gold", photos.mirrored(first))
    stage.claims.check(
        "mirrored",
        _refused_by(mirror, "near_duplicate", "near_duplicate") and bool(_measured(mirror)["mirrored"]),
        f"{_measured(mirror)['distance']} of 256 bits apart, correlation {_measured(mirror)['correlation']}",
    )
    for who, shot in (("gold", third), ("diamond", second), ("gold", fourth)):
        stage.claims.check("paid", _paid(stage, _hand_in(stage, who, shot)))
    archive = _hand_in(stage, "gold", photos.with_archive(first))
    stage.claims.check("polyglot", _refused_by(archive, "bytes", "polyglot"), f"found a {_measured(archive)}")
    _slot_is_handed_back(stage)


def _slot_is_handed_back(stage: Stage) -> None:
    diamond, before = stage.phones["diamond"], stage.slots()
    claimed = diamond.claim(stage.job_id)
    between = stage.slots()
    handed_back = diamond.call("POST", f"/v1/worker/assignments/{claimed['id']}/hand-back")
    after = stage.slots()
    stage.claims.check(
        "handed_back",
        between["free"] == before["free"] - 1 and after == before and handed_back["state"] == "handed_back",
        f"{before['free']} free, {between['free']} with the claim, {after['free']} after",
    )
    stage.progress.note(f"diamond hands a slot back with {claimed['seconds_left']} s left")


def _person_decides(stage: Stage) -> None:
    stage.progress.act("an unsigned submission waits for a person")
    waiting = _hand_in(stage, "bronze", stage.shots[5])
    unsigned = waiting["state"] == "in_review" and waiting["reason"]["code"] == "unsigned"
    unpaid = stage.earned("bronze") == 0
    review = stage.desk.review_of(waiting["id"])
    stage.desk.decide(review["id"], "approve", stars=4, note="A rocket is an everyday thing in Texas.")
    decided = stage.phones["bronze"].call("GET", f"/v1/worker/submissions/{waiting['id']}")
    stage.deeds[-1] = Deed("bronze", f"{stage.deeds[-1].what}, unsigned", decided)
    stage.claims.check(
        "human", unsigned and unpaid and _paid(stage, decided), f"held {review['held_cents']}, then paid"
    )
    stage.progress.note(f"the reviewer approves it, bronze is paid {decided['pay_cents']}")


def _far_away(stage: Stage) -> None:
    lookout = stage.lookouts["elsewhere"]
    refusal = _refusal(lambda: stage.elsewhere.claim(stage.job_id))
    lookout.stop()
    watched = stage.since_publication(lookout.last_without) or 0.0
    stage.claims.check(
        "elsewhere",
        lookout.first_seen is None
        and lookout.trouble is None
        and watched > EVERYONE
        and refusal is not None
        and _codes(refusal) == ["outside-place"],
        f"a diamond worker 118 km away, {lookout.looks} looks until {watched:.0f} s after publication",
    )


def _hand_in(stage: Stage, who: str, shot: Shot, assignment: Json | None = None, what: str = "") -> Json:
    """Claim (unless the claim is given), upload, sign, hand in, and wait for what becomes of it."""
    phone = stage.phones[who]
    assignment = assignment or phone.claim(stage.job_id)
    begun = phone.hand_in(assignment, [phone.upload(assignment["id"], shot.photo)])
    submission = _when_over(stage, who, f"/v1/worker/submissions/{begun['id']}", ("pending",))
    what = what or str(shot)
    stage.deeds.append(Deed(who, what, submission))
    stars = f", {submission['stars']} stars" if submission["stars"] else ""
    why = f" by {submission['reason']['gate']}" if submission["state"] != "approved" else ""
    stage.progress.note(f"{who}: {what}: {submission['state'].replace('_', ' ')}{why}{stars}")
    return submission


def _when_over(stage: Stage, who: str, path: str, running: tuple[str, ...]) -> Json:
    """What stands there once it is no longer running, as long polls bring it."""
    for _ in range(0, PATIENCE, 5):
        found = stage.phones[who].await_end(path, running=running, seconds=5)
        if found["state"] not in running:
            return found
        stage.house.require_alive()
    raise StoryBroke(f"{path} of {who} is still {found['state']} after {PATIENCE} s")


def _paid(stage: Stage, submission: Json) -> bool:
    worker = PRICE - PRICE * 20 // 100
    return (
        submission["state"] == "approved" and submission["pay_cents"] == worker and _charged(stage, submission) == PRICE
    )


def _charged(stage: Stage, submission: Json) -> int:
    """What the buyer paid for it, as the buyer reads it."""
    return int(stage.buyer.call("GET", f"/v1/submissions/{submission['id']}")["cost_cents"])


def _strikes(stage: Stage, who: str) -> int:
    return len(stage.phones[who].call("GET", "/v1/worker/standing")["strikes"])


def _refused_by(submission: Json, gate: str, code: str) -> bool:
    reason = submission["reason"] or {}
    return (
        submission["state"] == "rejected"
        and (reason.get("gate"), reason.get("code")) == (gate, code)
        and submission["pay_cents"] == 0
    )


def _measured(submission: Json) -> Any:
    return submission["reason"]["measured"]


def _limit(submission: Json) -> Any:
    return submission["reason"]["limit"]


# -- the money -------------------------------------------------------------------------------------------------------------


def _buyer_cancels(stage: Stage) -> None:
    stage.progress.act("the buyer cancels the rest")
    approved = sum(deed.submission["state"] == "approved" for deed in stage.deeds)
    rest = (SLOTS - approved) * PRICE
    _check_escrow(stage, open_slots=SLOTS - approved)
    before = stage.wallet()
    stage.job = stage.buyer.call("POST", f"/v1/jobs/{stage.job_id}/cancel")
    after = stage.wallet()
    stage.claims.check(
        "refund", after == before + rest and _escrow(stage) == 0, f"{before:,} + {rest:,} = {after:,} cents"
    )
    stage.progress.note(f"{approved} photos bought, {rest:,} cents come back")


def _check_escrow(stage: Stage, *, open_slots: int) -> None:
    slots, held = stage.slots(), _escrow(stage)
    exact = held == open_slots * PRICE and slots["target"] - slots["approved"] == open_slots
    stage.claims.check("escrow", exact, f"{held:,} cents for {open_slots} slots")


def _escrow(stage: Stage) -> int:
    with db.transaction() as session:
        return ledger.balance(session, accounts.escrow(ids.read("job", stage.job_id)))


def _cashouts(stage: Stage) -> None:
    stage.progress.act("cashing out")
    due = stage.earned("diamond")
    paid = _cash_out(stage, "diamond")
    stage.claims.check(
        "cashout_paid",
        paid["state"] == "paid" and paid["amount_cents"] == due and stage.earned("diamond") == 0,
        f"{due:,} cents to diamond",
    )
    due = stage.earned("gold")
    stage.desk.fail_next_cashout(stage.phones["gold"].worker_id, BANK_SAYS_NO)
    failed = _cash_out(stage, "gold")
    stage.claims.check(
        "cashout_failed",
        failed["state"] == "failed" and failed["failure"] == BANK_SAYS_NO and stage.earned("gold") == due > 0,
        f"{due:,} cents are gold's again: {failed['failure']}",
    )
    refusal = _refusal(
        lambda: stage.phones["silver"].call("POST", "/v1/worker/cashouts", {"client_id": "cashout-silver"})
    )
    stage.claims.check("cashout_small", refusal is not None and refusal.status in (409, 422), _words(refusal))


def _cash_out(stage: Stage, who: str) -> Json:
    asked = stage.phones[who].call("POST", "/v1/worker/cashouts", {"client_id": f"cashout-{who}"})
    cashout = _when_over(stage, who, f"/v1/worker/cashouts/{asked['id']}", ("requested", "sending"))
    stage.cashouts.append((who, cashout))
    stage.progress.note(f"{who} cashes {cashout['amount_cents']:,} cents out: {cashout['state']}")
    return cashout


def _books(stage: Stage) -> None:
    stage.progress.act("checking the books")
    with db.transaction() as session:
        stage.journal = list(reversed(ledger.journal(session, limit=1_000)))
        stage.books = reconcile.books(session)
    by_kind = dict.fromkeys(stage.books, 0)
    for posting in stage.journal:
        stage.claims.check("transfers", sum(posting.entries.values()) == 0)
        for account, cents in posting.entries.items():
            by_kind[account.kind] += cents
    stage.claims.check(
        "transfers",
        by_kind == stage.books and sum(by_kind.values()) == 0,
        f"{len(stage.journal)} transfers, together {sum(by_kind.values())}",
    )
    _check_payments(stage)
    for deed in stage.deeds:
        stage.claims.check("facts", _says_why(deed.submission))
    checked = subprocess.run(
        [sys.executable, "-m", "api", "check"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    stage.claims.check("check", checked.returncode == 0, (checked.stdout + checked.stderr).strip().removeprefix("✓ "))


def _check_payments(stage: Stage) -> None:
    """Each approved submission is paid once, nobody else is, and the cents are where they belong."""
    payments = [posting for posting in stage.journal if posting.reason == "pay"]
    approved = sorted(deed.submission["id"] for deed in stage.deeds if deed.submission["state"] == "approved")
    for posting in payments:
        by_kind = {account.kind: cents for account, cents in posting.entries.items()}
        buyer, worker, fee = -by_kind["escrow"], by_kind["earnings"], by_kind["fee"]
        fair = buyer == worker + fee == PRICE and 0 <= 100 * worker - 80 * buyer < 100
        stage.claims.check("split", fair)
    paid = sorted(ids.show("sub", posting.about.submission_id) for posting in payments if posting.about.submission_id)
    worker = PRICE - PRICE * 20 // 100
    stage.claims.check(
        "split",
        paid == approved,
        f"{len(paid)} times {PRICE} = {worker} + {PRICE - worker}, {100 * worker / PRICE:.2f} %",
    )


def _says_why(submission: Json) -> bool:
    reason = submission["reason"] or {}
    named = all(reason.get(member) for member in ("gate", "version", "code", "feedback"))
    return (
        named and bool(submission["findings"]) and all(one["gate"] and one["version"] for one in submission["findings"])
    )


# -- the news --------------------------------------------------------------------------------------------------------------


def _news(stage: Stage) -> None:
    stage.progress.act("the buyer's server reads its webhooks")
    states = [deed.submission["state"] for deed in stage.deeds]
    expected = {
        "credits.purchased": 1,
        "job.published": 1,
        "submission.scored": sum(bool(deed.submission["scores"]) for deed in stage.deeds),
        "submission.approved": states.count("approved"),
        "submission.rejected": states.count("rejected"),
        "job.cancelled": 1,
    }
    stage.receiver.wait_for(expected, PATIENCE / 2)
    came = stage.receiver.counts()
    stage.claims.check("all_events", came == expected, f"{sum(came.values())} of {sum(expected.values())}")
    letter = stage.receiver.about("submission.approved", stage.deeds[0].submission["id"])
    if letter is None:
        raise StoryBroke("the webhook about the first approved photo did not arrive")
    secret = stage.webhook_secret
    stage.claims.check("webhook", receiver.is_genuine(letter, secret), letter.headers["webhook-id"])
    stage.claims.check("second_signature", receiver.is_genuine_by_other_form(letter, secret))
    forged = receiver.tampered(letter)
    believed = receiver.is_genuine(forged, secret) or receiver.is_genuine_by_other_form(forged, secret)
    stage.claims.check("tampered", forged.body != letter.body and not believed)
    stage.progress.note(f"{len(stage.receiver.letters)} webhooks, signatures verified")


def _refusal(act: Any) -> Refused | None:
    """The refusal of something that must be refused; None if it was allowed."""
    try:
        act()
    except Refused as refused:
        return refused
    return None


def _words(refusal: Refused | None) -> str:
    return (
        "it was allowed"
        if refusal is None
        else f"{refusal.status} {refusal.problem['detail'] or refusal.problem['title']}"
    )


def _codes(refusal: Refused) -> list[str]:
    return [reason["code"] for reason in refusal.problem.get("reasons", [])]
