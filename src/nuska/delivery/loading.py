"""What the records say about a followed queue: at the start, and whenever they have changed."""

from collections.abc import Collection, Mapping

from nuska.core.subscription_records import SHARED, Cursor, Seen, Trouble
from nuska.delivery.follower import Follower
from nuska.delivery.leaving import leave_alone
from nuska.delivery.pages import Matches
from nuska.delivery.recipients import ORDERED, Recipient
from nuska.domain.errors import InvalidInput
from nuska.domain.filters import parse_filter
from nuska.domain.internal import owner_of
from nuska.domain.messages import Message
from nuska.domain.positions import Position
from nuska.domain.subscriptions import Subscription

FILTER = "filter"
"""The option that says which messages are wanted."""
NOTHING = "\0nothing"
"""In place of a filter, for one who is told of nothing."""


async def load(follower: Follower) -> None:
    """Read everything anew and go on from it. Ends the follower if nobody is there to be told."""
    async with follower.writing:
        follower.changed = False
        try:
            await _load(follower)
        except BaseException:
            follower.changed = True
            raise


async def _load(follower: Follower) -> None:
    node, queue = follower.node, follower.queue
    followed = await node.records.followed(queue)
    if followed is None:
        follower.end()
        return
    now = node.clock.now()
    # Before the look for subscriptions: who makes one meanwhile opens the log again.
    log = await node.store.announcements.state(queue, now=now)
    found: list[Seen[Subscription]] = []
    async for seen in node.records.all_subscriptions(queue):
        if seen.value.expires_at > now:
            found.append(seen)
        else:
            await node.remove(seen)
    if not found:
        await leave_alone(follower, followed.version, None if log is None else log.version)
        return
    if log is None:
        await node.store.announcements.open(queue, now=now)
    cursors = await node.records.cursors(queue)
    troubles = await node.records.troubles(queue)
    await _tidy(follower, {seen.value.id for seen in found}, cursors, troubles)
    async with follower.steady:
        if not follower.ended:
            follower.loaded_version = followed.version
            follower.cleared = max(follower.cleared, followed.value.cleared)
            follower.log.forget()
            follower.retries.expect(now)  # somebody may have put a row there
            _adopt(follower, found, cursors, troubles)


async def _tidy(
    follower: Follower,
    there: set[str],
    cursors: Mapping[str, Seen[Cursor]],
    troubled: Collection[str],
) -> None:
    """Remove what is left of subscriptions that are no more."""
    records, queue = follower.node.records, follower.queue
    for id_ in set(troubled) - there:
        await records.remove_trouble(queue, id_)
    for id_, version in follower.cursors.left_behind(cursors, there, follower.node.clock.now()):
        await records.remove_cursor(queue, id_, version=version)


def _adopt(
    follower: Follower,
    found: list[Seen[Subscription]],
    cursors: dict[str, Seen[Cursor]],
    troubles: Mapping[str, Trouble],
) -> None:
    shared = cursors.pop(SHARED, None)
    if not follower.recipients:
        follower.cursors.know(shared)
        starts = [seen.value.position for seen in cursors.values()]
        starts += [seen.value.since for seen in found]
        follower.head = max(starts) if shared is None else shared.value.position
    there = {seen.value.id for seen in found}
    for recipient in [r for r in follower.recipients.values() if r.id not in there]:
        follower.remove(recipient)
    for seen in found:
        known = follower.recipients.get(seen.value.id)
        own = cursors.get(seen.value.id)
        if known is None:
            start = own.value.position if own else seen.value.since
            if own is None and shared is not None and seen.value.since <= shared.value.position:
                start = shared.value.position
            _begin(follower, seen, own, start, troubles.get(seen.value.id))
        elif own is not None and own.version != known.cursor_version:
            follower.remove(known)
            _begin(follower, seen, own, own.value.position, troubles.get(seen.value.id))
        elif seen.version != known.seen.version:
            if (seen.value.subscriber, seen.value.confirmed) != (
                known.subscription.subscriber,
                known.subscription.confirmed,
            ) and not follower.node.may_be_told(seen.value):
                known.forget()
            _describe(follower, known, seen)
    follower.offer_all()


def _begin(
    follower: Follower,
    seen: Seen[Subscription],
    own: Seen[Cursor] | None,
    start: Position,
    trouble: Trouble | None,
) -> None:
    endpoint = follower.node.dispatch.endpoint(
        owner_of(follower.queue.project), follower.node.attempting.address(seen.value)
    )
    recipient = Recipient(seen, follower, endpoint, start)
    if trouble is not None:
        _go_on_in_trouble(recipient, trouble)
    if own is not None:
        recipient.cursor_version, recipient.cursor_written = own.version, own.value
        recipient.failures, recipient.next_at = own.value.failures, own.value.next_at
        recipient.round, recipient.round_until = own.value.round, own.value.round_until
    _describe(follower, recipient, seen)
    follower.place(recipient)


def _go_on_in_trouble(recipient: Recipient, trouble: Trouble) -> None:
    """What another process has found out need not be found out again, one failure at a time."""
    recipient.troubled = True
    endpoint = recipient.endpoint
    if trouble.endpoint == "":
        breaker = recipient.breaker
    elif trouble.endpoint == endpoint.address and not endpoint.proven:
        breaker = endpoint.breaker
    else:
        return
    breaker.resume(
        trouble.error,
        trouble.failures,
        since=trouble.since,
        pause=trouble.pause,
        next_at=trouble.next_at,
    )


def _describe(follower: Follower, recipient: Recipient, seen: Seen[Subscription]) -> None:
    """What the subscription says, but for where it stands."""
    node, subscription = follower.node, seen.value
    if subscription.subscriber != recipient.subscription.subscriber:
        recipient.endpoint = node.dispatch.endpoint(
            owner_of(follower.queue.project), node.attempting.address(subscription)
        )
    recipient.seen = seen
    recipient.ordered = subscription.options.get(ORDERED) is True
    recipient.filter, recipient.wants = (
        _filter_of(subscription) if node.may_be_told(subscription) else (NOTHING, _nothing)
    )


def _filter_of(subscription: Subscription) -> tuple[str, Matches | None]:
    try:
        wanted = parse_filter(subscription.options.get(FILTER))
    except InvalidInput:  # an earlier version took it
        return "", None
    if wanted is None:
        return "", None
    return wanted.key.decode(), lambda message: wanted.matches(message.body, message.attributes)


def _nothing(_: Message) -> bool:
    return False
