"""Webhooks: what happened, told to the buyer's own server."""
