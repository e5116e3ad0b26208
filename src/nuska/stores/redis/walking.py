"""Long pages, read in calls of bounded size."""

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import Position
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.rows import decode

AT_ONCE = 100
"""Messages, or other things, dumped or loaded by one call."""


async def walk(
    calls: Calls, function: str, queue: QueueRef, after: Position, limit: int, now: Moment
) -> list[Message]:
    """Up to ``limit`` messages by position, after ``after``.

    ``function`` is given where to begin and how many, and answers ``page``, its moment, where to
    go on ('' when it saw the end), and messages.
    """
    found: list[Message] = []
    start: int = after
    while len(found) < limit:
        stretch = min(AT_ONCE, limit - len(found))
        answer = await calls.read(function, queue, now, start, stretch)
        _, moment, walked, *messages = answer
        found += decode(messages, Moment(int(moment)))
        if not walked:
            break
        start = int(walked)
    return found
