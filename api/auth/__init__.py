"""Who is calling: API keys of buyers, tokens of workers, sessions of staff."""
