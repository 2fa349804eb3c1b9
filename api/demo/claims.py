"""Claims: everything the demo's report asserts, promised beforehand, so that what was never checked is seen too."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PROMISES: Mapping[str, Mapping[str, str]] = {
    "Who saw the job when": {
        "tiers": "each worker's tier follows from the outcomes of their work",
        "first_window": "diamond and gold see the job at once",
        "second_window": "silver does not see it before the second window opens, and then at once",
        "last_window": "bronze and new do not see it before the last window opens, and then at once",
        "early_claim": "a claim before one's window is refused",
        "elsewhere": "a phone outside the place never sees it, and cannot claim it",
    },
    "What was handed in": {
        "paid": "a good photo is approved and paid",
        "exact_copy": "the same file again is refused, without a strike",
        "mirrored": "the same picture mirrored and recoded by another worker is refused",
        "too_small": "a photo below the job's resolution is refused at no charge",
        "retry": "two stars get one more try on the same claim, and that is paid",
        "handed_back": "a slot handed back is free again",
        "human": "an unsigned submission waits for a person, who approves it, and it is paid",
        "polyglot": "a photo that is also an archive is refused",
        "newcomer": "a newcomer's photo is approved and paid",
        "split": "every payment is buyer = worker + fee, with 80 % or a fraction of a cent more for the worker",
        "facts": "every submission names its gates with what they measured",
    },
    "The money": {
        "short_wallet": "a job the wallet cannot pay is not published",
        "escrow": "escrow held exactly what the open slots still needed",
        "refund": "cancelling gives the rest back to the wallet, to the cent",
        "cashout_paid": "a cashout is paid by the sandbox rail",
        "cashout_failed": "a cashout the rail refuses comes back, with the reason",
        "cashout_small": "a cashout below the minimum is refused",
        "transfers": "every transfer balances, and all accounts together are zero",
        "check": "`footwork check` finds nothing",
    },
    "What the buyer's server heard": {
        "webhook": "the approval arrives as a webhook that the official Standard Webhooks library verifies",
        "second_signature": "its other signature, `t=…,v1=…`, verifies too",
        "tampered": "the same webhook turned into a rejection is not believed",
        "all_events": "one webhook came for each thing that happened, none for anything else",
    },
}


@dataclass
class Claim:
    """`holds` is None until somebody has looked."""

    text: str
    holds: bool | None = None
    measured: str = ""


class Claims:
    """What was promised, and what came of it. Chapters and claims keep their order."""

    def __init__(self, promises: Mapping[str, Mapping[str, str]] = PROMISES) -> None:
        self._chapters = {
            chapter: {key: Claim(text) for key, text in them.items()} for chapter, them in promises.items()
        }
        self._by_key = {key: claim for chapter in self._chapters.values() for key, claim in chapter.items()}

    def check(self, key: str, holds: bool, measured: str = "") -> None:
        """
        Enter what was seen. Checked several times, a claim must hold every time.

        :raises KeyError: nobody promised that
        """
        claim = self._by_key[key]
        claim.holds = holds and claim.holds is not False
        claim.measured = ", ".join(filter(None, (claim.measured, measured)))

    def of(self, chapter: str) -> list[Claim]:
        return list(self._chapters[chapter].values())

    @property
    def all_hold(self) -> bool:
        return all(claim.holds for claim in self)

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)
