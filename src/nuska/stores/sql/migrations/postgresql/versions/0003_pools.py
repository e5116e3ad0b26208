"""What a database needs to be a pool, and to keep a catalogue of pools."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    big, octets = sa.BigInteger, sa.LargeBinary
    op.add_column(
        "queues", sa.Column("fenced", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("queues", sa.Column("epoch", big, nullable=False, server_default="0"))
    # Queues are counted by their names alone, without those that are fenced.
    op.drop_index("queues_by_name", "queues")
    op.create_index(
        "queues_by_name",
        "queues",
        ["project", "name"],
        unique=True,
        postgresql_include=["fenced"],
    )
    op.create_table(
        "arrivals",
        sa.Column("queue", big, primary_key=True, autoincrement=False),
        sa.Column("source", octets, primary_key=True),
        sa.Column("position", big, nullable=False),
    )
    op.create_table(
        "records",
        sa.Column("collection", octets, primary_key=True),
        sa.Column("key", octets, primary_key=True),
        sa.Column("value", octets, nullable=False),
        sa.Column("version", octets, nullable=False),
    )
