"""Where a database is, from its URL: ``postgresql://[user[:password]@]host[:port]/database``.

User and password may be percent-encoded. ``?ssl=require`` encrypts and ``?ssl=verify-full``
also checks whom it speaks to; ``?replicas=2`` says how many standby servers there ought to be.
Refuses what it does not know, so that a misspelt option is not one that silently does nothing.
"""

import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {"postgresql": "postgresql+asyncpg"}
SSL_MODES = frozenset({"disable", "prefer", "require", "verify-ca", "verify-full"})
REPLICAS = "replicas"
OPTIONS = frozenset({"ssl", REPLICAS})


def parse(url: str) -> URL:
    """Read a URL; ``ValueError`` says what is wrong with it, and never shows a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError("the address of the database cannot be read") from None
    if parsed.drivername not in DRIVERS:
        raise ValueError(f"{parsed.drivername!r} is not a database that is known here")
    if not parsed.host or not parsed.database:
        raise ValueError("the address names no host or no database")
    unknown = sorted(set(parsed.query) - OPTIONS)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no option; known are {', '.join(sorted(OPTIONS))}")
    if "ssl" in parsed.query and parsed.query["ssl"] not in SSL_MODES:
        raise ValueError(f"ssl must be one of {', '.join(sorted(SSL_MODES))}")
    if not re.fullmatch(r"[1-9]\d?", str(parsed.query.get(REPLICAS, "1"))):
        raise ValueError(f"{REPLICAS} must be a number from 1 to 99")
    return parsed.set(drivername=DRIVERS[parsed.drivername])


def replicas(url: URL) -> int | None:
    """How many standby servers there ought to be, if the address says so."""
    return int(str(url.query[REPLICAS])) if REPLICAS in url.query else None


def without_own_options(url: URL) -> URL:
    """What is the database driver's of an address."""
    return url.difference_update_query([REPLICAS])
