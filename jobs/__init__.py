"""The work: what buyers order, what workers claim and hand in. Every state and the moves between states are in `lifecycle`."""
