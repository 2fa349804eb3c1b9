"""Rails: the ways money leaves for workers' banks."""

from payouts.rails.rail import Payment, Rail, RailRefused, RailUnavailable, Receipt, Statement
from payouts.rails.sandbox import Sandbox

__all__ = ["Payment", "Rail", "RailRefused", "RailUnavailable", "Receipt", "Statement", "named"]

_RAILS: dict[str, Rail] = {rail.name: rail for rail in (Sandbox(),)}


def named(name: str) -> Rail:
    """The rail of a name in `settings().cashout_rail`, or of one that a cashout was begun on."""
    return _RAILS[name]
