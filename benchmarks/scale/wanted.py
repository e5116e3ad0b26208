"""What the installation is to hold, and what is assumed about its machines: nothing measured."""

from msgspec import Struct

from nuska.domain.limits import Limits
from nuska.transport.server.bounds import Bounds

KILO, MEGA, GIGA = 10**3, 10**6, 10**9


class Wanted(Struct, frozen=True, kw_only=True):
    """The load, and the machines it is to run on."""

    queues: int = 1_000_000
    messages_per_second: int = 100_000
    """Each is posted, claimed and deleted once."""
    devices: int = 1_000_000
    """Each holds one connection, on which it waits in a long poll."""
    batch: int = 1
    """Messages in a post; claims and bulk deletes are by tens."""
    waiting_per_queue: int = 10
    """Messages that lie in a queue at any moment."""
    body_bytes: int = 200
    renewed_every: float = float(Limits().max_wait)
    """Seconds until a long poll that nothing has woken comes again."""
    connections_per_node: int = Bounds().max_connections
    busy: float = 0.6
    """Share of a core, a disk or a memory that may be in use: the rest is for peaks."""
    store_cores: int = 8
    """Cores of a store's server, if the store can use more than one."""
    store_memory: float = 32 * GIGA
    store_disk: float = 1000 * GIGA
    disk_per_second: float = 200 * MEGA
    """Bytes that a store's disk can write, synced."""


ONE_CORE = frozenset({"redis"})
"""Stores that carry out commands on one core of a server."""
