"""The model store: the storage promises in plain dictionaries, and nothing else.

It is the executable specification of ``interfaces/storage.py``: every other driver is
compared with it, call by call. It also serves ``memory:``, for trying things out.
It refuses to be clever (a call may look at every message of its queue) and to remember
anything after it is closed.
"""

from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.memory.store import MemoryStore

__all__ = ["MemoryStore", "open_store"]


async def open_store(options: StoreOptions) -> Store:
    """An empty store for ``memory:``, which takes nothing after the colon."""
    if options.url != "memory:":
        raise ValueError(f"the memory store is spelt 'memory:', not {options.url!r}")
    return MemoryStore(now=options.now, random_bytes=options.random_bytes)
