"""From costs to numbers of nodes and pools, by one multiplication and one division each.

It assumes that costs add up and that twice the machines carry twice the load; what breaks that
is reckoned as a resource of its own. It refuses to guess: a cost that was not measured is an
error.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from benchmarks.filling import BODY
from benchmarks.scale.wanted import ONE_CORE, Wanted
from benchmarks.stores.costs import Costs, Cpu

CLAIM_SIZE = 10
MICRO = 1e-6
MEASURED_BODY = len(msgspec.json.encode(BODY))
"""Bytes of a body where the bytes of a message were measured."""


T = TypeVar("T")


class Unmeasured(Exception):
    """The results lack a cost; the argument says which."""


class Need(Struct, frozen=True):
    """A resource, and how much of it is needed."""

    name: str
    used: float
    """In units of what one pool, or one node, has to give."""

    @property
    def pieces(self) -> int:
        return max(1, math.ceil(self.used))


def most(needs: Sequence[Need]) -> int:
    """As many pieces as the greatest of ``needs`` asks for."""
    return max(need.pieces for need in needs)


class Reckoned(Struct, frozen=True, kw_only=True):
    """What one store needs for what is wanted."""

    node_cores: float
    store_cores: float
    store_memory: float
    store_disk: float
    disk_per_second: float
    node_needs: list[Need]
    pool_needs: list[Need]
    hearing: Need
    """What every single node spends on hearing of what others take in. Beyond one, no number
    of nodes is enough."""

    @property
    def first(self) -> Need:
        """What is short first as the load grows: what more nodes and pools do not mend, else
        what needs most of them."""
        if self.hearing.used > 1:
            return self.hearing
        return max([*self.node_needs, *self.pool_needs], key=lambda need: need.used)


def reckon(store: str, costs: Costs, wanted: Wanted) -> Reckoned:
    """What ``wanted`` takes on ``store``."""
    per_message, per_second = _per_message(costs, wanted.batch), wanted.messages_per_second
    waiter, empty = _there(costs.waiter, "waiter"), _there(costs.empty_claim, "empty_claim")
    renewals = wanted.devices / wanted.renewed_every
    node, of_store = (
        MICRO * (message * per_second + waiting * wanted.devices + again * renewals)
        for message, waiting, again in (
            (per_message.node, waiter.node, empty.node),
            (per_message.store, waiter.store, empty.store),
        )
    )
    hearing = MICRO * _there(costs.heard, "heard") * per_second
    memory = _kept(costs.queue_memory_bytes, costs.message_memory_bytes, wanted, "memory")
    disk = _kept(costs.queue_disk_bytes, costs.message_disk_bytes, wanted, "disk")
    grown = max(0, wanted.body_bytes - MEASURED_BODY)
    each_written = _there(costs.written.get(wanted.batch), f"written (post of {wanted.batch})")
    written = per_second * (each_written + grown)
    cores = 1 if store in ONE_CORE else wanted.store_cores
    return Reckoned(
        node_cores=node,
        store_cores=of_store,
        store_memory=memory,
        store_disk=disk,
        disk_per_second=written,
        hearing=Need("hearing of other nodes", hearing / wanted.busy),
        node_needs=[
            Need("CPU of a node", node / wanted.busy),
            Need("connections of a node", wanted.devices / wanted.connections_per_node),
        ],
        pool_needs=[
            Need("CPU of the store", of_store / (cores * wanted.busy)),
            Need("memory of the store", memory / (wanted.store_memory * wanted.busy)),
            Need("disk of the store, size", disk / (wanted.store_disk * wanted.busy)),
            Need("disk of the store, writing", written / (wanted.disk_per_second * wanted.busy)),
        ],
    )


def _per_message(costs: Costs, batch: int) -> Cpu:
    """CPU of a message that is posted, claimed and deleted."""
    if batch not in costs.post:
        raise Unmeasured(f"post of {batch} (measured: {sorted(costs.post)})")
    post, work = costs.post[batch], _there(costs.work, "work")
    node, store = (
        posted / batch + 2 * worked / CLAIM_SIZE
        for posted, worked in ((post.node, work.node), (post.store, work.store))
    )
    return Cpu(node=node, store=store)


def _kept(queue: float | None, message: float | None, wanted: Wanted, place: str) -> float:
    """Bytes of all queues and their messages. A queue was measured with one message in it."""
    each = _there(message, f"message_{place}_bytes")
    empty = max(0.0, _there(queue, f"queue_{place}_bytes") - each)
    if each:  # a body longer than the measured one takes as much more, wherever it lies
        each += max(0, wanted.body_bytes - MEASURED_BODY)
    return wanted.queues * (empty + wanted.waiting_per_queue * each)


def _there(value: T | None, name: str) -> T:
    if value is None:
        raise Unmeasured(name)
    return value
