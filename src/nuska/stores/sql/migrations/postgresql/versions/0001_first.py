"""The first tables.

A migration that has been released is never changed: it says what a database was made with.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

VACUUMED_OFTEN = ("queues", "messages", "claims", "delays_ending")
"""Tables whose rows come and go: cleaned by the change of a fiftieth of them, not a fifth."""


def upgrade() -> None:
    big, octets = sa.BigInteger, sa.LargeBinary
    op.create_table(
        "timeline",
        sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last_moment", big, nullable=False),
    )
    op.execute("INSERT INTO timeline (one, last_moment) VALUES (1, 0)")
    op.create_table(
        "generations",
        sa.Column("id", big, sa.Identity(), primary_key=True),
        sa.Column("retired", sa.Boolean, nullable=False),
    )
    op.create_index("generations_retired", "generations", ["id"], postgresql_where="retired")
    op.create_table(
        "queues",
        # Never given twice: `posts` may outlive the queue.
        sa.Column("id", big, sa.Identity(), primary_key=True),
        sa.Column("project", octets, nullable=False),
        sa.Column("name", octets, nullable=False),
        sa.Column("generation", big, nullable=False),
        # Positions up to here belong to earlier generations.
        sa.Column("base_position", big, nullable=False),
        sa.Column("last_position", big, nullable=False),
        sa.Column("last_moment", big, nullable=False),
        sa.Column("metadata", octets, nullable=False),
        sa.Column("relaxed", sa.Boolean, nullable=False),
        sa.Column("version", big, nullable=False),
    )
    op.create_index("queues_by_name", "queues", ["project", "name"], unique=True)
    op.create_index("queues_by_generation", "queues", ["generation"])
    op.create_table(
        "deleted_queues",
        sa.Column("project", octets, primary_key=True),
        sa.Column("name", octets, primary_key=True),
        sa.Column("last_position", big, nullable=False),
    )
    op.create_index("deleted_queues_by_position", "deleted_queues", ["last_position"])
    op.create_table(
        "messages",
        sa.Column("generation", big, primary_key=True),
        sa.Column("position", big, primary_key=True),
        sa.Column("salt", octets, nullable=False),
        sa.Column("posted_position", big),
        sa.Column("body", octets, nullable=False),
        sa.Column("poster", octets, nullable=False),
        sa.Column("ttl", big, nullable=False),
        sa.Column("created_at", big, nullable=False),
        sa.Column("expires_at", big, nullable=False),
        sa.Column("available_at", big, nullable=False),
        sa.Column("claim", octets),
        sa.Column("claim_count", big, nullable=False),
        sa.Column("attributes", octets),
        sa.Column("dead", octets),
    )
    op.create_index("messages_in_line", "messages", ["generation", "available_at", "position"])
    op.create_index("messages_ending", "messages", ["expires_at"])
    op.create_table(
        "claims",
        sa.Column("generation", big, primary_key=True),
        sa.Column("claim", octets, primary_key=True),
        sa.Column("ttl", big, nullable=False),
        sa.Column("started_at", big, nullable=False),
        sa.Column("expires_at", big, nullable=False),
    )
    op.create_index("claims_ending", "claims", ["expires_at"])
    op.create_table(
        "delays_ending",
        sa.Column("available_at", big, primary_key=True),
        sa.Column("generation", big, primary_key=True),
    )
    op.create_table(
        "moved",
        sa.Column("generation", big, primary_key=True),
        sa.Column("posted_position", big, primary_key=True),
        sa.Column("salt", octets, primary_key=True),
        sa.Column("position", big, nullable=False),
    )
    op.create_table(
        "posts",
        sa.Column("queue", big, primary_key=True),
        sa.Column("key", octets, primary_key=True),
        sa.Column("fingerprint", octets, nullable=False),
        sa.Column("first_position", big, nullable=False),
        sa.Column("salts", octets, nullable=False),
        sa.Column("expires_at", big, nullable=False),
    )
    op.create_index("posts_ending", "posts", ["expires_at"])
    for table in VACUUMED_OFTEN:
        op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.02)")
