"""Announcement logs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    big, octets = sa.BigInteger, sa.LargeBinary
    op.add_column("queues", sa.Column("log", big))
    op.create_table(
        "logs",
        sa.Column("project", octets, primary_key=True),
        sa.Column("name", octets, primary_key=True),
        sa.Column("version", octets, nullable=False),
        sa.Column("last_position", big, nullable=False),
    )
    op.create_table(
        "announcements",
        sa.Column("generation", big, primary_key=True, autoincrement=False),
        sa.Column("position", big, primary_key=True, autoincrement=False),
        sa.Column("salt", octets, nullable=False),
        sa.Column("body", octets, nullable=False),
        sa.Column("poster", octets, nullable=False),
        sa.Column("ttl", big, nullable=False),
        sa.Column("created_at", big, nullable=False),
        sa.Column("expires_at", big, nullable=False),
        sa.Column("available_at", big, nullable=False),
        sa.Column("attributes", octets),
    )
    op.create_index("announcements_ending", "announcements", ["expires_at"])
    # As the other tables whose rows come and go.
    op.execute("ALTER TABLE announcements SET (autovacuum_vacuum_scale_factor = 0.02)")
