"""Redis 7 or later, or Valkey 8: one server, a Cluster, or servers behind Sentinel.

Every operation on a queue is one call of a function that Redis runs whole (``library/``),
and all keys of a queue lie in one hash slot (``names.py``). What spans queues are two
indexes beside them, written first and checked on read (D17). The driver keeps no copy of
anything that Redis knows, so any number of nodes may share a store.
"""

from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.redis.store import open_redis

__all__ = ["open_store"]


async def open_store(options: StoreOptions) -> Store:
    """Open ``redis://host``, ``redis+cluster://…`` or ``redis+sentinel://…``; see ``url.py``.

    Raises ``Unavailable`` with a sentence for people, and ``ValueError`` for a wrong URL.
    """
    return await open_redis(options)
