"""
Money: one double-entry ledger, and what moves through it.

wallets -> escrow -> earnings + fee -> cashouts -> rails. Only `ledger.py` writes; only the database can be trusted to keep it so.
"""
