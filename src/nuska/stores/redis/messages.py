"""Messages: post, read, delete, pop."""

from collections.abc import Sequence

from nuska.domain.errors import Conflict, QueueMissing, Unavailable
from nuska.domain.messages import (
    Added,
    DeleteOutcome,
    Idempotency,
    Message,
    NewMessage,
    Page,
    QueueRef,
)
from nuska.domain.moments import Moment
from nuska.domain.positions import (
    SALT_BYTES,
    Position,
    parse_message_id,
)
from nuska.domain.queues import Measure
from nuska.interfaces.storage import RandomBytes
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.lane import Part
from nuska.stores.redis.queues import CLEARINGS_AT_MOST, RedisQueues
from nuska.stores.redis.rows import decode, encode, encode_new, held_by, ids_of_post, wanted

MEASURED_AT_ONCE = 500
"""Messages that one call measures."""

OUTCOMES = {
    b"deleted": DeleteOutcome.DELETED,
    b"missing": DeleteOutcome.MISSING,
    b"claimed": DeleteOutcome.CLAIMED,
    b"other_claim": DeleteOutcome.OTHER_CLAIM,
    b"not_claimed": DeleteOutcome.NOT_CLAIMED,
    b"gone": DeleteOutcome.CLAIM_GONE,
}


class RedisMessages:
    """``MessageStore`` on Redis."""

    def __init__(self, calls: Calls, queues: RedisQueues, random_bytes: RandomBytes) -> None:
        self._calls = calls
        self._queues = queues
        self._random_bytes = random_bytes
        self.unused_salts = b""
        """Of posts that turned out to be repetitions; they serve the next one."""

    async def add(
        self,
        queue: QueueRef,
        messages: Sequence[NewMessage],
        *,
        poster: bytes = b"",
        idempotency: Idempotency | None = None,
        create: bool = True,
        now: Moment,
    ) -> Added:
        salts = self._take_salts(len(messages))
        key, fingerprint = b"", b""
        if idempotency is not None:  # an empty key is a key
            key, fingerprint = b"=" + idempotency.key.encode(), idempotency.fingerprint
        new = (
            encode_new(message, salts[at * SALT_BYTES : (at + 1) * SALT_BYTES])
            for at, message in enumerate(messages)
        )
        try:
            answer = await self._calls.write(
                "nuska_add_messages", queue, now, poster, key, fingerprint, *new, create=create
            )
        except QueueMissing:
            self.unused_salts = salts + self.unused_salts
            raise
        if answer[0] == b"added":
            return Added(ids_of_post(int(answer[1]), salts))
        self.unused_salts = salts + self.unused_salts
        if answer[0] == b"conflict":
            raise Conflict(
                "This Idempotency-Key was used within the last 10 minutes to post something else."
            )
        return Added(ids_of_post(int(answer[1]), answer[2]), replayed=True)

    def _take_salts(self, count: int) -> bytes:
        size = count * SALT_BYTES
        kept, self.unused_salts = self.unused_salts[:size], self.unused_salts[size:]
        missing = size - len(kept)
        return kept + self._random_bytes(missing) if missing else kept

    async def page(
        self,
        queue: QueueRef,
        *,
        after: Position,
        limit: int,
        hide_poster: bytes | None = None,
        include_claimed: bool = False,
        include_delayed: bool = False,
        now: Moment,
    ) -> Page:
        found: list[Message] = []
        start: int = after
        while len(found) < limit:
            answer = await self._queues.when_clear(
                "nuska_page_messages",
                queue,
                now,
                start,
                limit - len(found),
                int(hide_poster is not None),
                hide_poster or b"",
                int(include_claimed),
                int(include_delayed),
            )
            _, moment, walked, *messages = answer
            found += decode(messages, Moment(int(moment)))
            if not walked:
                break
            start = int(walked)
        return Page(found, marker=found[-1].position if found else after)

    async def position_of(self, queue: QueueRef, message_id: str) -> Position | None:
        parsed, sought = parse_message_id(message_id), wanted(message_id)
        if parsed is None or sought is None:
            return None
        answer = await self._calls.read("nuska_position_of", queue, self._calls.latest, sought)
        return Position(int(answer[1])) if answer[1] else parsed[0]

    async def get(self, queue: QueueRef, ids: Sequence[str], *, now: Moment) -> list[Message]:
        sought = [one for one in map(wanted, dict.fromkeys(ids)) if one is not None]
        if not sought:
            return []
        answer = await self._calls.read("nuska_get_messages", queue, now, *sought)
        return decode(answer[2:], Moment(int(answer[1])))

    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        sought = wanted(message_id)
        if sought is None:
            return DeleteOutcome.MISSING
        named = b"" if claim_id is None else held_by(claim_id) or b"malformed"
        answer = await self._calls.write("nuska_delete_message", queue, now, sought, named)
        return OUTCOMES[answer[0]]

    async def delete_many(
        self,
        queue: QueueRef,
        ids: Sequence[str],
        *,
        claim_ids: Sequence[str] | None = None,
        now: Moment,
    ) -> bool:
        sought = [one for one in map(wanted, dict.fromkeys(ids)) if one is not None]
        if not sought:
            return True
        named: list[Part] = [""]
        if claim_ids is not None:
            claims = [one for one in map(held_by, claim_ids) if one is not None]
            named = [len(claims), *claims]
        answer = await self._calls.write("nuska_delete_messages", queue, now, *named, *sought)
        return bool(answer[0] == b"deleted")

    async def pop(self, queue: QueueRef, *, limit: int, now: Moment) -> list[Message]:
        for _ in range(CLEARINGS_AT_MOST):
            answer = await self._calls.write("nuska_pop_messages", queue, now, limit)
            if answer[0] != b"again":
                return decode(answer[2:], Moment(int(answer[1])))
        raise Unavailable("The queue has too much to clear away.")

    async def put_back(self, queue: QueueRef, popped: Sequence[Message], *, now: Moment) -> None:
        back = [part for message in popped for part in encode(message)]
        await self._calls.write("nuska_restore_messages", queue, now, *back)

    async def next_due(self, queue: QueueRef, *, now: Moment) -> Moment | None:
        answer = await self._calls.read("nuska_next_due", queue, now)
        return Moment(int(answer[1])) if answer[1] else None

    async def measure(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> Measure:
        """One call, and a short stretch: nobody else's call runs meanwhile."""
        _, held, size, walked = await self._calls.read(
            "nuska_measure", queue, now, after, min(limit, MEASURED_AT_ONCE)
        )
        marker = Position(int(walked)) if walked else None
        return Measure(messages=held, bytes=int(size), marker=marker)
