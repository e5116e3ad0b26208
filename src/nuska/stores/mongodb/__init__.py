"""MongoDB 6 or later, as a replica set or a sharded cluster.

What changes a queue is a transaction that begins by changing the queue's own document, so of
two at once one is refused and tried again; only messages are deleted without it. Writes of one
node that wait for the same queue share a transaction (``writer.py``). All documents of a queue
have one value of the shard key (``records.py``). The driver keeps no copy of anything that
MongoDB knows, but a guess (``generations.py``).
"""

from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.mongodb.store import open_mongodb

__all__ = ["open_store"]


async def open_store(options: StoreOptions) -> Store:
    """Open ``mongodb://host[,host…]/[database]?replicaSet=…`` or ``mongodb+srv://…``.

    Raises ``Unavailable`` with a sentence for people, and ``ValueError`` for a wrong URL.
    """
    return await open_mongodb(options)
