"""The first tables.

A migration that has been released is never changed: it says what a database was made with.
These servers commit after every statement that makes a table, so a migration may be cut off
between any two: every step finds out whether it has been done before. A table is made whole
with its indexes.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

PROJECT_BYTES, NAME_BYTES = 1024, 2048
"""Together what an index takes, 3072."""
KEY_BYTES = 2048
TOKEN_BYTES = 64
"""Salts, claims and fingerprints are shorter."""
ENGINE = {"mysql_engine": "InnoDB", "mysql_row_format": "DYNAMIC"}

octets = mysql.LONGBLOB


def upgrade() -> None:
    _queues()
    _messages()
    _others()


def _table(name: str, *parts: sa.Column[Any] | sa.Index) -> None:
    op.create_table(name, *parts, if_not_exists=True, **ENGINE)


def _big(
    name: str, *, key: bool = False, counts: bool = False, empty: bool = False
) -> sa.Column[int]:
    return sa.Column(
        name, sa.BigInteger, primary_key=key or counts, autoincrement=counts, nullable=empty
    )


def _octets(name: str, length: int, *, key: bool = False, empty: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.VARBINARY(length), primary_key=key, nullable=empty)


def _queues() -> None:
    _table(
        "generations",
        _big("id", counts=True),
        sa.Column("retired", sa.Boolean, nullable=False),
        sa.Index("generations_retired", "retired"),
    )
    _table(
        "queues",
        # Never given twice: `posts` may outlive the queue.
        _big("id", counts=True),
        _octets("project", PROJECT_BYTES),
        _octets("name", NAME_BYTES),
        _big("generation"),
        # Positions up to here belong to earlier generations.
        _big("base_position"),
        _big("last_position"),
        _big("last_moment"),
        sa.Column("metadata", octets, nullable=False),
        sa.Column("relaxed", sa.Boolean, nullable=False),
        _big("version"),
        sa.Index("queues_by_name", "project", "name", unique=True),
        sa.Index("queues_by_generation", "generation"),
    )
    # What is locked by those who work on messages of a queue, beside those who post.
    _table(
        "gates",
        _octets("project", PROJECT_BYTES, key=True),
        _octets("name", NAME_BYTES, key=True),
        _big("queue"),
        _big("generation"),
        _big("base_position"),
        sa.Index("gates_by_queue", "queue", unique=True),
    )
    _table(
        "deleted_queues",
        _octets("project", PROJECT_BYTES, key=True),
        _octets("name", NAME_BYTES, key=True),
        _big("last_position"),
        sa.Index("deleted_queues_by_position", "last_position"),
    )


def _messages() -> None:
    _table(
        "messages",
        _big("generation", key=True),
        _big("position", key=True),
        _octets("salt", TOKEN_BYTES),
        _big("posted_position", empty=True),
        sa.Column("body", octets, nullable=False),
        sa.Column("poster", octets, nullable=False),
        _big("ttl"),
        _big("created_at"),
        _big("expires_at"),
        _big("available_at"),
        _octets("claim", TOKEN_BYTES, empty=True),
        _big("claim_count"),
        sa.Column("attributes", octets),
        sa.Column("dead", octets),
        # With the claim in it, who looks for the messages of one locks no others.
        sa.Index("messages_in_line", "generation", "available_at", "claim", "position"),
        sa.Index("messages_ending", "expires_at"),
    )
    _table(
        "claims",
        _big("generation", key=True),
        _octets("claim", TOKEN_BYTES, key=True),
        _big("ttl"),
        _big("started_at"),
        _big("expires_at"),
        sa.Index("claims_ending", "expires_at"),
    )
    _table(
        "delays_ending",
        _big("available_at", key=True),
        _big("generation", key=True),
    )
    _table(
        "moved",
        _big("generation", key=True),
        _big("posted_position", key=True),
        _octets("salt", TOKEN_BYTES, key=True),
        _big("position"),
    )


def _others() -> None:
    _table(
        "posts",
        _big("queue", key=True),
        _octets("key", KEY_BYTES, key=True),
        sa.Column("fingerprint", octets, nullable=False),
        _big("first_position"),
        sa.Column("salts", octets, nullable=False),
        _big("expires_at"),
        sa.Index("posts_ending", "expires_at"),
    )
    _table(
        "timeline",
        sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
        _big("last_moment"),
    )
    op.execute(
        "INSERT INTO timeline (one, last_moment) VALUES (1, 0) "
        "ON DUPLICATE KEY UPDATE last_moment = last_moment"
    )
