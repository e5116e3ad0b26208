"""The end of following a queue to which nobody subscribes any more.

What is removed was there before it was certain that nobody subscribes, and is removed only as it
was then: this process may stand still at any moment, and go on when somebody has subscribed since
and another process is in charge.
"""

from msgspec import Struct

from nuska.core.subscription_records import Cursor, Seen
from nuska.delivery.follower import Follower
from nuska.domain.internal import internal
from nuska.domain.positions import BEFORE_ALL, MessageId

ROWS_AT_ONCE = 20
MOST_ROWS = 2_000
"""More of what was to be sent later is left to its end: it expires."""


class Left(Struct, frozen=True):
    """What is left of subscriptions that are no more."""

    cursors: dict[str, Seen[Cursor]]
    troubled: list[str]
    asked: set[str]
    rows: list[MessageId]


async def leave_alone(follower: Follower, version: str, log: str | None) -> None:
    """Nobody is left to be told. ``version``: of the queue's record, and ``log``: of its log, as
    they were before that was seen."""
    node, queue = follower.node, follower.queue
    listened = await is_listened_to(follower)
    left = await _left(follower)
    if not listened and not await close(follower, log):
        follower.changed = True  # somebody is making a subscription at this moment
        return
    if not await node.records.remove_followed(queue, version=version):
        follower.changed = True  # the same, or somebody has, and another process follows
        return
    await _remove(follower, left)
    if listened and not await is_listened_to(follower):
        await close(follower, log)  # those who did left it open, since the queue was followed
    follower.end()


async def is_listened_to(follower: Follower) -> bool:
    """Whether others keep the log."""
    listened = follower.node.listened
    return listened is not None and await listened.is_kept(follower.queue)


async def close(follower: Follower, log: str | None) -> bool:
    """False when somebody has opened it since."""
    if log is None:
        return True
    node = follower.node
    return await node.store.announcements.close(follower.queue, version=log, now=node.clock.now())


async def _left(follower: Follower) -> Left:
    records, queue = follower.node.records, follower.queue
    return Left(
        cursors=await records.cursors(queue),
        troubled=list(await records.troubles(queue)),
        asked=set(await records.asked(queue)),
        rows=await _rows(follower),
    )


async def _rows(follower: Follower) -> list[MessageId]:
    node, rows = follower.node, internal("retries", follower.queue)
    found: list[MessageId] = []
    after = BEFORE_ALL
    while len(found) < MOST_ROWS:
        page = await node.store.messages.page(
            rows,
            after=after,
            limit=ROWS_AT_ONCE,
            include_claimed=True,
            include_delayed=True,
            now=node.clock.now(),
        )
        found += [message.id for message in page.messages]
        if len(page.messages) < ROWS_AT_ONCE:
            break
        after = page.messages[-1].position
    return found


async def _remove(follower: Follower, left: Left) -> None:
    node, queue = follower.node, follower.queue
    for subscription, seen in left.cursors.items():
        await node.records.remove_cursor(queue, subscription, version=seen.version)
    for subscription in left.troubled:
        await node.records.remove_trouble(queue, subscription)
    for subscription in left.asked:
        await node.records.remove_ask(queue, subscription)
    rows = internal("retries", queue)
    for at in range(0, len(left.rows), ROWS_AT_ONCE):
        some = left.rows[at : at + ROWS_AT_ONCE]
        await node.store.messages.delete_many(rows, some, now=node.clock.now())
