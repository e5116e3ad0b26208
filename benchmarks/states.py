"""The states of a store that an operation's time must not depend on, made through the driver.

A state is what ``filling`` lets work on an opened store. Nothing here is timed.
"""

from collections.abc import Awaitable, Callable

from benchmarks import filling
from nuska.domain.messages import QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.storage import Store

State = Callable[[Store], Awaitable[None]]

QUEUE = "million"
"""Where a state that is one great queue has its messages."""
SHALLOW = 100
"""Messages that wait behind those which are in flight."""
_JOBS = QueueRef("bench", QUEUE)
_CLAIM_SIZE = 10
_DELAY = 900


def waiting(count: int) -> State:
    async def fill(store: Store) -> None:
        await _add(store, count)

    return fill


def claimed_ahead(count: int, *, at_once: int = filling.AT_ONCE) -> State:
    async def fill(store: Store) -> None:
        await _add(store, count)
        await filling.together(
            (
                store.claims.create(
                    _JOBS,
                    claim_id=f"{serial:024x}",
                    limit=_CLAIM_SIZE,
                    ttl=seconds(36_000),
                    grace=seconds(60),
                    now=filling.wall_clock(),
                )
                for serial in range(count // _CLAIM_SIZE)
            ),
            at_once=at_once,
        )
        await _add(store, SHALLOW)

    return fill


def delayed_ahead(count: int) -> State:
    async def fill(store: Store) -> None:
        metadata: dict[str, object] = {"_default_message_delay": _DELAY}
        await store.queues.create(_JOBS, metadata, now=filling.wall_clock())
        await _add(store, count, delay=_DELAY)
        await _add(store, SHALLOW)

    return fill


def many_queues(count: int, *, at_once: int = filling.AT_ONCE) -> State:
    """Queues with one message each, named by ``queue_name``."""

    async def fill(store: Store) -> None:
        await filling.together(
            (
                store.messages.add(
                    QueueRef("bench", queue_name(index)),
                    [filling.small()],
                    now=filling.wall_clock(),
                )
                for index in range(count)
            ),
            at_once=at_once,
        )

    return fill


def queue_name(index: int) -> str:
    return f"queue-{index}"


async def _add(store: Store, count: int, *, delay: int = 0) -> None:
    message = filling.small(delay=delay)
    sizes = [filling.BATCH] * (count // filling.BATCH) + [count % filling.BATCH]
    await filling.together(
        (
            store.messages.add(_JOBS, [message] * size, now=filling.wall_clock())
            for size in sizes
            if size
        ),
        at_once=20,
    )
