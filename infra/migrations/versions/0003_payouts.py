"""Tables of payouts, and what the database itself refuses about money"""

import sqlalchemy as sa
from alembic import op

revision = "0003_payouts"
down_revision = "0002_tiering"
branch_labels = None
depends_on = None

# Entries, transfers and balances are history. `WHEN (pg_trigger_depth() = 0)` lets the balance through that the trigger
# on entries keeps, and nobody else's.
REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: money moves by new transfers only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$
"""
UNCHANGEABLE = """
CREATE TRIGGER {table}_unchangeable BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_change()
"""
ACCOUNTS_BEGIN_EMPTY = """
CREATE TRIGGER accounts_begin_empty BEFORE INSERT ON accounts
    FOR EACH ROW WHEN (NEW.balance_cents <> 0) EXECUTE FUNCTION refuse_change()
"""

# One UPDATE for all entries of a statement. The ledger has locked the accounts before, in the order of their ids. Hot
# accounts have no balance and are not touched, so nobody waits for them.
MOVE_BALANCES = """
CREATE FUNCTION move_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts
       SET balance_cents = balance_cents + moved.cents
      FROM (SELECT account_id, sum(amount_cents)::bigint AS cents FROM fresh GROUP BY account_id) AS moved
     WHERE accounts.id = moved.account_id AND balance_cents IS NOT NULL;
    RETURN NULL;
END $$
"""
ENTRIES_MOVE_BALANCES = """
CREATE TRIGGER entries_move_balances AFTER INSERT ON entries
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION move_balances()
"""

# Checked at COMMIT, from both sides: a transfer without entries, and an entry added to an old transfer (which declared how
# many it has).
REFUSE_UNBALANCED = """
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    transfer uuid;
    declared bigint;
    counted bigint;
    cents numeric;
BEGIN
    IF TG_TABLE_NAME = 'transfers' THEN
        transfer := NEW.id;
    ELSE
        transfer := NEW.transfer_id;
    END IF;
    SELECT legs INTO declared FROM transfers WHERE id = transfer;
    SELECT count(*), coalesce(sum(amount_cents), 0) INTO counted, cents FROM entries WHERE transfer_id = transfer;
    IF counted <> declared OR cents <> 0 THEN
        RAISE EXCEPTION 'transfer % does not balance: % of % entries, adding up to %', transfer, counted, declared, cents
            USING ERRCODE = 'check_violation', TABLE = 'transfers', CONSTRAINT = 'transfers_balance';
    END IF;
    RETURN NULL;
END $$
"""
BALANCED = """
CREATE CONSTRAINT TRIGGER {table}_balance AFTER INSERT ON {table}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced()
"""


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("balance_cents", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint(
            "kind", "owner_id", name=op.f("uq_accounts_kind_owner_id"), postgresql_nulls_not_distinct=True
        ),
        sa.CheckConstraint(
            "kind IN ('wallet', 'escrow', 'earnings', 'transit', 'fee', 'provider')",
            name=op.f("ck_accounts_kind_known"),
        ),
        sa.CheckConstraint(
            "(kind IN ('fee', 'provider')) = (owner_id IS NULL)", name=op.f("ck_accounts_owned_unless_hot")
        ),
        sa.CheckConstraint(
            "(kind IN ('fee', 'provider')) = (balance_cents IS NULL)", name=op.f("ck_accounts_balance_unless_hot")
        ),
        sa.CheckConstraint("balance_cents >= 0", name=op.f("ck_accounts_balance_not_negative")),
    )

    op.create_table(
        "transfers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("legs", sa.BigInteger(), nullable=False, comment="how many entries it has; the database counts them"),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("submission_id", sa.Uuid(), nullable=True),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("cashout_id", sa.Uuid(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
        sa.UniqueConstraint("cause", name=op.f("uq_transfers_cause")),
        sa.CheckConstraint("legs >= 2", name=op.f("ck_transfers_legs_enough")),
    )
    op.create_index(
        op.f("ix_transfers_job_id_id"), "transfers", ["job_id", "id"], postgresql_where=sa.text("job_id IS NOT NULL")
    )
    op.create_index(
        op.f("ix_transfers_submission_id"),
        "transfers",
        ["submission_id"],
        postgresql_where=sa.text("submission_id IS NOT NULL"),
    )

    op.create_table(
        "entries",
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", "account_id", name=op.f("pk_entries")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name=op.f("fk_entries_transfer_id")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_entries_account_id")),
        sa.CheckConstraint("amount_cents <> 0", name=op.f("ck_entries_amount_not_zero")),
    )
    op.create_index(
        op.f("ix_entries_account_id_transfer_id"),
        "entries",
        ["account_id", "transfer_id"],
        unique=True,
        postgresql_include=["amount_cents"],
    )

    op.create_table(
        "cashouts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("rail", sa.Text(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=True, comment="the rail's reference of the payment"),
        sa.Column("failure", sa.Text(), nullable=True, comment="the rail's reason, for the worker to read"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cashouts")),
        sa.UniqueConstraint("worker_id", "client_id", name=op.f("uq_cashouts_worker_id_client_id")),
        sa.CheckConstraint("amount_cents > 0", name=op.f("ck_cashouts_amount_positive")),
        sa.CheckConstraint("(state = 'failed') = (failure IS NOT NULL)", name=op.f("ck_cashouts_failure_explained")),
        sa.CheckConstraint("(state = 'paid') = (receipt IS NOT NULL)", name=op.f("ck_cashouts_payment_receipted")),
        sa.CheckConstraint(
            "(state IN ('paid', 'failed')) = (finished_at IS NOT NULL)", name=op.f("ck_cashouts_finish_dated")
        ),
        sa.CheckConstraint("state IN ('requested', 'sending', 'paid', 'failed')", name=op.f("ck_cashouts_state_known")),
        sa.CheckConstraint(
            "state IN ('failed', 'paid') OR due_at IS NOT NULL", name=op.f("ck_cashouts_state_has_deadline")
        ),
    )
    op.create_index(op.f("ix_cashouts_worker_id_id"), "cashouts", ["worker_id", "id"])
    op.create_index(
        op.f("ix_cashouts_due_at"),
        "cashouts",
        ["due_at"],
        postgresql_where=sa.text("state NOT IN ('failed', 'paid')"),
    )

    op.create_table(
        "sandbox_payouts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sandbox_payouts")),
        sa.CheckConstraint("amount_cents > 0", name=op.f("ck_sandbox_payouts_amount_positive")),
    )
    op.create_table(
        "sandbox_faults",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sandbox_faults")),
        sa.CheckConstraint("kind IN ('refuse', 'silence')", name=op.f("ck_sandbox_faults_kind_known")),
        sa.CheckConstraint(
            "(kind = 'refuse') = (reason IS NOT NULL)", name=op.f("ck_sandbox_faults_refusal_explained")
        ),
    )
    op.create_index(op.f("ix_sandbox_faults_worker_id_id"), "sandbox_faults", ["worker_id", "id"])

    op.execute(REFUSE_CHANGE)
    for table in ("accounts", "transfers", "entries"):
        op.execute(UNCHANGEABLE.format(table=table))
    op.execute(ACCOUNTS_BEGIN_EMPTY)
    op.execute(MOVE_BALANCES)
    op.execute(ENTRIES_MOVE_BALANCES)
    op.execute(REFUSE_UNBALANCED)
    for table in ("transfers", "entries"):
        op.execute(BALANCED.format(table=table))


def downgrade() -> None:
    for table in ("sandbox_faults", "sandbox_payouts", "cashouts", "entries", "transfers", "accounts"):
        op.drop_table(table)
    for function in ("refuse_unbalanced", "move_balances", "refuse_change"):
        op.execute(f"DROP FUNCTION {function}()")
