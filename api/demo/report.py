"""The account at the end: what happened, in four chapters, each closed by the claims it bears out. For 80 columns and more."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.demo import history
from api.demo.claims import Claim, Claims
from api.demo.phone import Json
from api.demo.stage import EVERYONE, SILVER, Deed, Stage
from infra import ids
from infra.settings import Settings
from payouts.accounts import AccountName

COLOURS = {"approved": "green", "rejected": "red", "in_review": "yellow", "paid": "green", "failed": "red"}
LOG_LINES = 6


def account(out: Console, stage: Stage, seconds: float, folder: Path | None) -> None:
    """Everything that happened, and how much of what was promised holds."""
    for title, tell in CHAPTERS.items():
        _heading(out, title)
        tell(out, stage)
        out.print()
        for claim in stage.claims.of(title):
            _print_claim(out, claim)
    out.print()
    held = sum(bool(claim.holds) for claim in stage.claims)
    verdict = ("✓", "green") if stage.claims.all_hold else ("✗", "red")
    source = f"photographs from {folder}" if folder else "photographs of scikit-image and scikit-learn"
    _print_hanging(
        out,
        Text(f"{verdict[0]} ", verdict[1]),
        Text.assemble(
            (f"{held} of {len(stage.claims)} claims checked and true", f"bold {verdict[1]}"),
            f" in {seconds:.0f} s, on real PostgreSQL, Valkey and SeaweedFS, with {source}.",
        ),
    )


def broken(out: Console, claims: Claims, trouble: Exception, logs: Path) -> None:
    """What held until the story broke, why it did, and what the roles said last."""
    reached = [claim for claim in claims if claim.holds is not None]
    for claim in reached:
        _print_claim(out, claim)
    out.print(Text.assemble(("✗ The story broke: ", "bold red"), f"{trouble}"), soft_wrap=True, highlight=False)
    out.print(f"{len(claims) - len(reached)} of {len(claims)} claims were not reached.", highlight=False)
    for path in sorted(logs.glob("*.log")):
        said = list(_complaints(path))
        if said:
            out.print(f"\n[bold]{path}[/]")
        for line in said:
            out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _complaints(path: Path) -> Iterator[str]:
    """The last warnings and errors of a role's log; of a service's log the last lines."""
    lines = path.read_text(errors="replace").splitlines()
    ours = [line for line in lines if line.startswith("{")]
    return iter([line for line in ours if '"level":"info"' not in line.replace(" ", "")][-LOG_LINES:] if ours else [])


def _heading(out: Console, title: str) -> None:
    out.print()
    out.rule(Text(title, style="bold"), align="left", style="dim")


def _print_claim(out: Console, claim: Claim) -> None:
    mark, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "yellow")}[claim.holds]
    measured = claim.measured or ("" if claim.holds is not None else "not checked")
    _print_hanging(
        out, Text(f"{mark} ", style), Text.assemble(claim.text, (f": {measured}" if measured else "", "dim"))
    )


def _say(out: Console, words: str) -> None:
    _print_hanging(out, Text(), Text(words))


def _print_hanging(out: Console, first: Text, body: Text) -> None:
    """`first`, then `body` beside it, wrapped under itself."""
    for line in body.wrap(out, max(20, out.width - first.cell_len)):
        line.rstrip()
        out.print(Text.assemble(first, line))
        first = Text(" " * first.cell_len)


# -- who saw the job when --------------------------------------------------------------------------------------------------


def _windows(out: Console, stage: Stage) -> None:
    real = [Settings.model_fields[name].default for name in ("window_silver_seconds", "window_everyone_seconds")]
    _say(
        out,
        f"The windows open {real[0]} s and {real[1]} s after publication in production, compressed to {SILVER} s and "
        f"{EVERYONE} s here. The workers' pasts were planted in the database; their tiers were computed from them.",
    )
    table = _table("phone", "past: scored, good", "window", "looks without", "first seen", right=(2, 3, 4))
    opens = {"diamond": 0, "gold": 0, "silver": SILVER, "bronze": EVERYONE, "new": EVERYONE}
    for tier, window in opens.items():
        standing, lookout = stage.standings[tier], stage.lookouts[tier]
        seen = stage.since_publication(lookout.first_seen)
        rate = f"{standing['scored']}, {100 * standing['approval_rate']:.0f} %" if standing["scored"] else "none"
        table.add_row(
            tier,
            rate,
            f"{window} s",
            str(lookout.looks - (seen is not None)),
            "never" if seen is None else f"{seen:.2f} s",
        )
    far = stage.lookouts["elsewhere"]
    past = history.PASTS["diamond"]
    rate = f"{past.scored}, {100 * past.good / past.scored:.0f} %"
    table.add_row("diamond, far away", rate, "0 s", str(far.looks), "never" if far.first_seen is None else "SEEN")
    _print_table(out, table)


# -- what was handed in ----------------------------------------------------------------------------------------------------


def _submissions(out: Console, stage: Stage) -> None:
    for number, deed in enumerate(stage.deeds, 1):
        _print_hanging(out, Text.assemble((f"{number:>2}  ", "dim"), (f"{deed.who:<8}", "bold")), _headline(deed))
        _print_hanging(out, Text(" " * 4), _gates(deed.submission))
        if deed.submission["state"] != "approved":
            _print_hanging(out, Text(" " * 4), Text(f"“{deed.submission['reason']['feedback']}”", style="italic"))
    seconds = sorted(_seconds(deed.submission) for deed in stage.deeds)
    out.print()
    _say(
        out,
        f"Verdicts came {seconds[0]:.1f} to {seconds[-1]:.1f} s after the hand-in, half of them within "
        f"{seconds[len(seconds) // 2]:.1f} s.",
    )


def _headline(deed: Deed) -> Text:
    submission = deed.submission
    state = submission["state"]
    stars = f", {submission['stars']} of 5 stars" if submission["stars"] else ""
    line = Text.assemble(
        f"{deed.what}: ",
        (_words(state), f"bold {COLOURS.get(state, '')}".strip()),
        f"{stars} after {_seconds(submission):.1f} s",
    )
    if state == "approved":
        line.append(f", pays {submission['pay_cents']}", style="green")
    elif submission["retry"]:
        line.append(", one more try")
    return line


def _gates(submission: Json) -> Text:
    """Every gate with what it measured; the one that decided stands out, with its limit and its words."""
    line = Text(style="dim")
    for finding in submission["findings"]:
        measured, code = _plain(finding["measured"]), _words(finding["code"])
        against = {"reject": "red", "review": "yellow"}.get(finding["outcome"])
        said = f"{_words(finding['gate'])}: {measured or code}"
        if against and measured:
            said += f" ({code}{_limit(finding['limit'])})"
        line.append(" · " if line else "")
        line.append(said, style=f"not dim {against}" if against else "")
    for score in submission["scores"]:
        for name, rating in score["dimensions"].items():
            line.append(f" · {name}: {rating['value']:.1f} stars")
            if rating["reason"]:
                line.append(f" ({_words(rating['reason'])} {rating['measured']}{_limit(rating['limit'])})")
    return line


def _words(code: str) -> str:
    return code.replace("_", " ")


def _limit(limit: Any) -> str:
    return f", limit {_plain(limit)}" if limit is not None else ""


def _plain(value: Any) -> str:
    """A measured value in a few words; ids shortened."""
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_plain(one)}" for name, one in value.items() if name != "media")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and "_" in value and len(value) > 24:
        return f"{value[:8]}…{value[-4:]}"
    return "" if value is None else str(value)


def _seconds(submission: Json) -> float:
    """From hand-in to verdict, by the server's clock."""
    if submission["decided_at"] is None:
        return 0.0
    decided, submitted = (datetime.fromisoformat(submission[name]) for name in ("decided_at", "submitted_at"))
    return (decided - submitted).total_seconds()


# -- the money -------------------------------------------------------------------------------------------------------------


def _money(out: Console, stage: Stage) -> None:
    names = {ids.read("wkr", phone.worker_id): tier for tier, phone in stage.phones.items()}
    numbers = {ids.read("sub", deed.submission["id"]): number for number, deed in enumerate(stage.deeds, 1)}
    table = _table("transfer", "from, in cents", "to")
    for posting in stage.journal:
        given = [f"{_name(account, names)} {cents:,}" for account, cents in posting.entries.items() if cents < 0]
        taken = [f"{_name(account, names)} {cents:+,}" for account, cents in posting.entries.items() if cents > 0]
        number = numbers.get(posting.about.submission_id) if posting.about.submission_id else None
        about = f" for {number}" if number else ""
        table.add_row(f"{_words(posting.reason)}{about}", ", ".join(given), ", ".join(reversed(taken)))
    _print_table(out, table)
    balances = ", ".join(f"{kind} {cents:,}" for kind, cents in stage.books.items())
    together = (f", together {sum(stage.books.values())}", "bold")
    _print_hanging(out, Text("balances  ", "bold"), Text.assemble(balances, together))
    for who, cashout in stage.cashouts:
        why = f": {cashout['failure']}" if cashout["failure"] else ""
        state = (cashout["state"], COLOURS.get(cashout["state"], ""))
        out.print(Text.assemble(("cashout   ", "bold"), f"{who} {cashout['amount_cents']:,} cents ", state, why))


def _name(account: AccountName, workers: Mapping[Any, str]) -> str:
    whose = f" {workers[account.owner_id]}" if account.owner_id in workers else ""
    return f"{account.kind}{whose}"


# -- what the buyer's server heard -----------------------------------------------------------------------------------------


def _webhook(out: Console, stage: Stage) -> None:
    counts = ", ".join(f"{count} {type}" for type, count in stage.receiver.counts().items())
    _say(out, f"{len(stage.receiver.letters)} webhooks: {counts}. One of them:")
    letter = stage.receiver.about("submission.approved", stage.deeds[0].submission["id"])
    if letter is None:
        return
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "footwork-signature"):
        _print_hanging(out, Text(" " * 4), Text(f"{name}: {letter.headers[name]}", style="dim"))
    _print_hanging(out, Text(" " * 4), Text(json.dumps(letter.event, ensure_ascii=False), style="dim"))


def _print_table(out: Console, table: Table) -> None:
    """Without the blanks that fill its last column."""
    with out.capture() as captured:
        out.print(table)
    for line in captured.get().splitlines():
        text = Text.from_ansi(line)
        text.rstrip()
        out.print(text)


def _table(*columns: str, right: tuple[int, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place in right else "left")
    return table


CHAPTERS: Mapping[str, Callable[[Console, Stage], None]] = {
    "Who saw the job when": _windows,
    "What was handed in": _submissions,
    "The money": _money,
    "What the buyer's server heard": _webhook,
}
