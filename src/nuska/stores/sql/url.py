"""Where a database is, from its URL: ``postgresql://[user[:password]@]host[:port]/database``,
or ``mysql://…`` or ``mariadb://…``, which are the same.

User and password may be percent-encoded. ``?ssl=require`` encrypts and ``?ssl=verify-full``
also checks whom it speaks to (``dialects/encryption.py``); each kind of server has options of
its own besides. Refuses what it does not know, so that a misspelt option is not one that
silently does nothing.
"""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from nuska.stores.sql.dialects import named

DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}


def parse(url: str) -> URL:
    """Read a URL; ``ValueError`` says what is wrong with it, and never shows a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError("the address of the database cannot be read") from None
    drivername = DRIVERS.get(parsed.drivername)
    if drivername is None:
        raise ValueError(f"{parsed.drivername!r} is not a database that is known here")
    if not parsed.host or not parsed.database:
        raise ValueError("the address names no host or no database")
    named(drivername).check(parsed)
    return parsed.set(drivername=drivername)
