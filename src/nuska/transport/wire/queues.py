"""Queues on the wire."""

from collections.abc import Sequence

from nuska.core.queues import ListedQueue, QueueStatistics
from nuska.domain.errors import InvalidBody
from nuska.domain.moments import Moment, age_in_seconds, iso
from nuska.domain.queues import Landmark, Metadata
from nuska.transport.wire.json import decode_object, encode

PURGEABLE = ("messages", "subscriptions")
_INTEGER_DIGITS = 18
"""All integers of so many digits fit 64 bit; longer filter values are compared as text."""


def decode_metadata(data: bytes) -> Metadata:
    """The metadata of a new queue; no body is an empty object."""
    return decode_object(data) if data else {}


def decode_purge(data: bytes) -> frozenset[str]:
    """What to purge: everything, unless the body names ``resource_types``."""
    if not data:
        return frozenset(PURGEABLE)
    document = decode_object(data)
    if "resource_types" not in document:
        raise InvalidBody('The request body has no "resource_types".')
    types = document["resource_types"]
    if not isinstance(types, list) or not all(kind in PURGEABLE for kind in types):
        raise InvalidBody(
            'The value of resource_types must be an array of "messages" and "subscriptions".'
        )
    return frozenset(str(kind) for kind in types)


def filter_value(text: str) -> object:
    """A metadata filter's value: an integer if it looks like one, else text."""
    digits = text[1:] if text[:1] == "-" else text
    if digits.isascii() and digits.isdigit() and len(digits) <= _INTEGER_DIGITS:
        return int(text)
    return text


def encode_queues(
    noun: str, queues: Sequence[ListedQueue], count: int | None, links: bytes
) -> bytes:
    """``noun``: ``queues`` or ``topics``."""
    items = [_listed(noun, queue) for queue in queues]
    counted = f', "count": {count}'.encode() if count else b""
    return f'{{"{noun}": '.encode() + encode(items) + b", " + links + counted + b"}"


def _listed(noun: str, queue: ListedQueue) -> dict[str, object]:
    item: dict[str, object] = {"name": queue.name, "href": f"/v2/{noun}/{queue.name}"}
    if queue.metadata is not None:
        item["metadata"] = queue.metadata
    return item


def encode_stats(statistics: QueueStatistics, base: str, now: Moment) -> bytes:
    """Counts; delayed messages are free. ``durability`` shows only where it is lowered (D18)."""
    stats = statistics.stats
    free = stats.ready + stats.delayed
    counts: dict[str, object] = {"claimed": stats.claimed, "free": free}
    return _encode_stats(counts, statistics, base, now)


def encode_bare_stats(statistics: QueueStatistics, now: Moment) -> bytes:
    """As ``encode_stats``, but the oldest and the newest have their ids and no address."""
    return encode_stats(statistics, "", now)


def encode_topic_stats(statistics: QueueStatistics, base: str, now: Moment) -> bytes:
    """Nobody claims what was published to a topic."""
    return _encode_stats({}, statistics, base, now)


def _encode_stats(
    counts: dict[str, object], statistics: QueueStatistics, base: str, now: Moment
) -> bytes:
    stats = statistics.stats
    messages = {**counts, "total": stats.ready + stats.delayed + stats.claimed}
    if stats.oldest is not None and stats.newest is not None:
        messages["oldest"] = _landmark(stats.oldest, base, now)
        messages["newest"] = _landmark(stats.newest, base, now)
    document: dict[str, object] = {"messages": messages}
    if statistics.relaxed:
        document["durability"] = "relaxed"
    return encode(document)


def _landmark(landmark: Landmark, base: str, now: Moment) -> dict[str, object]:
    name = {"href": f"{base}/messages/{landmark.id}"} if base else {"id": landmark.id}
    return {
        **name,
        "age": age_in_seconds(landmark.created_at, now),
        "created": iso(landmark.created_at),
    }
