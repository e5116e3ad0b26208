"""The embedded store: SQLite in one file, the default (D5)."""

from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.sqlite.store import open_sqlite

__all__ = ["open_store"]


async def open_store(options: StoreOptions) -> Store:
    """Open the store that ``options.url`` names, creating it if need be."""
    return await open_sqlite(options)
