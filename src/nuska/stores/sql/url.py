"""Where a database is, from its URL: ``postgresql://[user[:password]@]host[:port]/database``.

User and password may be percent-encoded. ``?ssl=require`` encrypts and ``?ssl=verify-full``
also checks whom it speaks to. Refuses what it does not know, so that a misspelt option is
not one that silently does nothing.
"""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {"postgresql": "postgresql+asyncpg"}
SSL_MODES = frozenset({"disable", "prefer", "require", "verify-ca", "verify-full"})
OPTIONS = frozenset({"ssl"})


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
    return parsed.set(drivername=DRIVERS[parsed.drivername])
