"""Indexes that no other can be taken for, whatever the server believes about the tables.

One index for ready and waiting messages had two rivals: by position the primary key, which
walks over all that is claimed, and for a message by its place that index itself, of which only
the generation is then used. Which of them a server takes follows from statistics, which lag
behind a table whose content comes and goes within seconds.
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index(
        "messages_ready",
        "messages",
        ["generation", "position"],
        postgresql_where="available_at = 0",
    )
    op.create_index(
        "messages_waiting",
        "messages",
        ["generation", "available_at", "position"],
        postgresql_where="available_at > 0",
    )
    op.drop_index("messages_in_line", "messages")
