"""PostgreSQL as the store: any number of nodes may share one database.

Every operation is one short transaction. Positions of a queue are given under a lock of its
row, so they follow commit order; claims and pops lock messages and pass over those that
somebody else has locked. The driver keeps no copy of anything that the database knows.
"""

from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.sql.store import migrate_sql, open_sql

__all__ = ["migrate", "open_store"]


async def open_store(options: StoreOptions) -> Store:
    """Open ``postgresql://[user[:password]@]host[:port]/database``; see ``url.py``.

    Raises ``Unavailable`` with a sentence for people, and ``ValueError`` for a wrong URL.
    """
    return await open_sql(options)


async def migrate(url: str) -> bool:
    """Make the tables of a database current; whether there was anything to do."""
    return await migrate_sql(url)
