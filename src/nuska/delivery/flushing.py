"""Writes down how far a queue's deliveries are, and gives back what is needed no more."""

from msgspec.structs import replace

from nuska.delivery.follower import Follower
from nuska.domain.moments import Moment, seconds
from nuska.domain.positions import Position, floor_at
from nuska.domain.subscriptions import Disabled
from nuska.interfaces.records import ABSENT

TRIMS_PER_FLUSH = 20
TRIM_EVERY = seconds(2)


async def flush(follower: Follower) -> None:
    """Write what is not written yet. Raises ``Unavailable``, and can be repeated; ``Lost`` when
    another process is in charge."""
    async with follower.writing:
        async with follower.steady:
            if follower.ended:
                return
            follower.touched = False
            begun = follower.journal.begin()
            earliest = follower.journal.earliest_row
            plan = follower.cursors.plan(follower.recipients.values(), follower.head)
        try:
            await follower.journal.write(begun)
            if earliest is not None:
                follower.retries.expect(earliest)
                follower.node.wake_at(follower, earliest)
            await follower.cursors.write(plan)
            await follower.journal.end_rows(begun)
            await _disable(follower)
            await _tell_trouble(follower)
            await _trim(follower)
        except BaseException:
            follower.touched = True
            raise
        follower.node.counters.flushes += 1
        if not follower.cursors.is_settled(follower.recipients.values(), follower.head):
            follower.touched = True  # who does not get on needs a cursor of his own
        if follower.held_up and not follower.journal.is_full:
            follower.held_up = False
            follower.offer_all()
            follower.node.wake(follower)


async def leave(follower: Follower) -> None:
    """Write everything down, and let another process go on. Raises like ``flush``."""
    follower.retries.part()
    if follower.touched:
        await flush(follower)
    await follower.retries.give_back()


async def _disable(follower: Follower) -> None:
    node = follower.node
    for id_, reason in list(follower.telling.disabling.items()):
        recipient = follower.recipients.get(id_)
        if recipient is not None:
            disabled = replace(recipient.subscription, disabled=Disabled(reason, node.clock.now()))
            version = await node.records.put_subscription(disabled, version=recipient.seen.version)
            if version is None:
                follower.changed = True  # somebody has changed it: he will hear again
                node.wake(follower)
            else:
                recipient.seen = replace(recipient.seen, value=disabled, version=version)
                node.counters.disabled += 1
        del follower.telling.disabling[id_]


async def _tell_trouble(follower: Follower) -> None:
    records, queue = follower.node.records, follower.queue
    for id_, trouble in list(follower.telling.troubles.items()):
        if id_ in follower.recipients:
            if trouble is None:
                await records.remove_trouble(queue, id_)
            else:
                seen = await records.trouble(queue, id_)
                version = ABSENT if seen is None else seen.version
                await records.put_trouble(queue, id_, trouble, version=version)
        if follower.telling.troubles.get(id_) is trouble:
            del follower.telling.troubles[id_]


async def _trim(follower: Follower) -> None:
    """Drop from the log what everybody has, and nobody may want again."""
    node, now = follower.node, follower.node.clock.now()
    if follower.cursors.shared is None or now - follower.trimmed_at < TRIM_EVERY:
        return
    follower.trimmed_at = now
    kept_from = floor_at(Moment(now - seconds(node.bounds.announcements_kept)))
    if len(follower.milestones) == follower.milestones.maxlen:
        kept_from = max(kept_from, follower.milestones[0])
    through = min(Position(kept_from - 1), follower.cursors.shared)
    for recipient in follower.recipients.values():
        if recipient.cursor_written is not None:
            through = min(through, recipient.cursor_written.position)
    if through <= follower.trimmed_through:
        return
    followed = await node.records.followed(follower.queue)
    if followed is None or followed.version != follower.loaded_version:
        follower.changed = True  # somebody may be owed this whom we do not know of yet
        node.wake(follower)
        return
    if node.listened is not None:
        through = await node.listened.spare(follower.queue, through)
        if through <= follower.trimmed_through:
            return
    for _ in range(TRIMS_PER_FLUSH):
        if not await node.store.announcements.trim(follower.queue, through=through, now=now):
            follower.trimmed_through = through
            return
