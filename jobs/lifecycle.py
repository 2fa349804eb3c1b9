"""The lifecycles of the work, as data. `infra.states.move` is the only way along them."""

from infra.states import lifecycle

JOB = lifecycle(
    "job",
    draft="scheduled open cancelled",
    scheduled="open cancelled",
    open="filled paused closing cancelled expired",
    filled="open paused closing cancelled expired",
    paused="open closing cancelled expired",
    closing="completed",
    completed="",
    cancelled="",
    expired="",
)

# A 2-star submission gives its assignment one more try: submitted -> claimed.
ASSIGNMENT = lifecycle(
    "assignment",
    claimed="submitted expired handed_back",
    submitted="approved rejected claimed",
    approved="",
    rejected="",
    expired="",
    handed_back="",
)

SUBMISSION = lifecycle(
    "submission",
    pending="approved rejected in_review",
    in_review="approved rejected in_review",
    approved="",
    rejected="",
)

RUNNING = frozenset({"open", "filled", "paused"})
# A freed slot goes back to the wallet, no longer to the feed.
ENDED = frozenset({"closing", "completed", "cancelled", "expired"})
HOLDING = frozenset({"claimed", "submitted", "approved"})  # assignments that occupy their slot
