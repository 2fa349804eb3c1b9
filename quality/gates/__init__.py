"""
The gates, in order, cheapest and surest first. Each is a small pure function from facts to findings, with a name and a
version that changes whenever its answers may.

To add one: write its module beside these and put it in `GATES`. A gate named in FOOTWORK_SHADOW_GATES is recorded and does
not act.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from quality.facts import Finding, SubmissionFacts
from quality.gates import attestation, bytes, content_hash, near_duplicate, place, resolution


@dataclass(frozen=True)
class Gate:
    name: str
    version: str
    check: Callable[[SubmissionFacts], Iterator[Finding]]


GATES = tuple(
    Gate(module.NAME, module.VERSION, module.check)
    for module in (attestation, bytes, content_hash, resolution, near_duplicate, place)
)


def run(facts: SubmissionFacts, *, shadow: Collection[str] = ()) -> list[Finding]:
    """Every gate's findings, in order; those of shadow gates are marked."""
    return [
        replace(finding, shadow=True) if gate.name in shadow else finding
        for gate in GATES
        for finding in gate.check(facts)
    ]
