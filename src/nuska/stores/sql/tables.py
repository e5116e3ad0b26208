"""The tables, as queries see them. ``migrations/`` makes them and their indexes.

A message stands at (generation, position). A generation is one life of a queue's content:
purge and delete start another one, and the old one's rows are swept later (D17).
``available_at`` is ``READY`` or the moment until which a message waits, delayed (claim NULL)
or claimed. Names are bytes: they compare by code point on every server, and may hold any
character.

``logs`` says which announcement logs are open, also of queues that do not exist. What such a log
holds has a generation of its own, which the queue's row names in ``log`` while its log is open:
so a post sees it where it looks anyway, and what empties or closes a log starts another
generation, or none, and leaves the old one's rows to the sweep.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    literal_column,
)

READY = 0
"""``available_at`` of a message that stands in line. A number, since one index then serves
ready messages, waiting ones and those of a claim."""

metadata = MetaData()


def unindexed(column: Column[int]) -> ColumnElement[int]:
    """A column, for conditions that are not to be answered from its index. By statistics of
    when a table was empty any index is as good as the one that is meant, and the server may
    walk over everything along it."""
    return column + literal_column("0")


READY_IN_WORDS: ColumnElement[int] = literal_column(str(READY))
"""For conditions: an index of what is ready, or of what is not, can be used only where the
statement itself says so, and not a value that is sent along."""

timeline = Table(
    "timeline",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("last_moment", BigInteger, nullable=False),
)

generations = Table(
    "generations",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("retired", Boolean, nullable=False),
)

queues = Table(
    "queues",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("project", LargeBinary, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("base_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("last_moment", BigInteger, nullable=False),
    Column("metadata", LargeBinary, nullable=False),
    Column("relaxed", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("fenced", Boolean, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("log", BigInteger),
)

deleted_queues = Table(
    "deleted_queues",
    metadata,
    Column("project", LargeBinary, primary_key=True),
    Column("name", LargeBinary, primary_key=True),
    Column("last_position", BigInteger, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("generation", BigInteger, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("posted_position", BigInteger),
    Column("body", LargeBinary, nullable=False),
    Column("poster", LargeBinary, nullable=False),
    Column("ttl", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("available_at", BigInteger, nullable=False),
    Column("claim", LargeBinary),
    Column("claim_count", BigInteger, nullable=False),
    Column("attributes", LargeBinary),
    Column("dead", LargeBinary),
)
IS_READY = messages.c.available_at == READY_IN_WORDS
WAITS = messages.c.available_at > READY_IN_WORDS

claims = Table(
    "claims",
    metadata,
    Column("generation", BigInteger, primary_key=True),
    Column("claim", LargeBinary, primary_key=True),
    Column("ttl", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

# When delayed messages of a generation come due, one row per moment.
delays_ending = Table(
    "delays_ending",
    metadata,
    Column("available_at", BigInteger, primary_key=True),
    Column("generation", BigInteger, primary_key=True),
)

# Ids of messages that no longer stand where they were posted.
moved = Table(
    "moved",
    metadata,
    Column("generation", BigInteger, primary_key=True),
    Column("posted_position", BigInteger, primary_key=True),
    Column("salt", LargeBinary, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

# Posts remembered by their Idempotency-Key. Their ids are consecutive positions.
posts = Table(
    "posts",
    metadata,
    Column("queue", BigInteger, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("salts", LargeBinary, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

# Open announcement logs. Everything that is posted gets a position above the one here.
logs = Table(
    "logs",
    metadata,
    Column("project", LargeBinary, primary_key=True),
    Column("name", LargeBinary, primary_key=True),
    Column("version", LargeBinary, nullable=False),
    Column("last_position", BigInteger, nullable=False),
)

# What was posted while a log was open, as it was posted: ``available_at`` is never ``READY``.
announcements = Table(
    "announcements",
    metadata,
    Column("generation", BigInteger, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("poster", LargeBinary, nullable=False),
    Column("ttl", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("available_at", BigInteger, nullable=False),
    Column("attributes", LargeBinary),
)

# The last position that arrived from each source (``TransferStore.arrive``).
arrivals = Table(
    "arrivals",
    metadata,
    Column("queue", BigInteger, primary_key=True),
    Column("source", LargeBinary, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

records = Table(
    "records",
    metadata,
    Column("collection", LargeBinary, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("version", LargeBinary, nullable=False),
)
