"""Gate 2, after the API's part: forged assertions never come this far; how much the device can be trusted is said here."""

from collections.abc import Iterator

from quality.facts import Finding, SubmissionFacts

NAME, VERSION = "attestation", "1"


def check(facts: SubmissionFacts) -> Iterator[Finding]:
    """An unsigned submission (tier D) goes to a human; missing evidence is not a reason to refuse."""
    if facts.trust == "D":
        yield Finding(
            NAME,
            VERSION,
            "review",
            "unsigned",
            measured=facts.trust,
            limit="C",
            feedback="Your phone did not sign this submission, so a person looks at it. Update the app and sign in again.",
        )
    else:
        yield Finding(NAME, VERSION, "pass", "signed", measured=facts.trust, limit="C")
