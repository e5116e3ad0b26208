"""Queues placed over several stores (D12): a catalogue in one of them says which.

catalogue   what is written: pools, flavors, pins, and lists beside them
pools       the stores behind the pools, opened when first used
placing     where a queue lies: found, made, ended
moving      a queue carried from store to store
logs        which announcement logs are open, wherever their queues lie
letters     dead letters between stores
clearing    what nodes that died left lying
queues, messages, claims, announcements, store    the interface of a store, by way of these
"""

from nuska.interfaces.clock import Clock
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.storage import RandomBytes, SharedStore
from nuska.stores.pooled.pools import OpenStore, PlaceOf
from nuska.stores.pooled.store import PooledStore, SharedPooledStore

__all__ = ["PooledStore", "pooled"]


def pooled(
    own: PoolableStore,
    open_store: OpenStore,
    clock: Clock,
    random_bytes: RandomBytes,
    *,
    fall_back: bool = True,
    place_of: PlaceOf = str,
) -> PooledStore:
    """The store that ``own`` and the pools in its catalogue are together. Closing it closes
    them all. ``place_of``: unless given, every URI is a place of its own."""
    kind = SharedPooledStore if isinstance(own, SharedStore) else PooledStore
    return kind(own, open_store, clock, random_bytes, fall_back=fall_back, place_of=place_of)
