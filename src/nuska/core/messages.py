"""What a caller may do with messages: post, read, delete, pop.

Defaults and limits are applied here; the store is asked for one atomic step per action, and
those who wait for the queue are woken after it.
"""

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from nuska.core.access import allow
from nuska.core.bodies import Bodies, as_stored
from nuska.core.ranges import check_ids, check_range, page_size
from nuska.core.rates import Rates
from nuska.core.terms import Terms
from nuska.core.undoing import carried_out
from nuska.core.usage import Usage
from nuska.core.waiting import Patience, Watch
from nuska.domain.attributes import ours_in
from nuska.domain.errors import (
    InvalidBody,
    InvalidInput,
    MessageClaimed,
    NotFound,
    NotTheClaim,
    QuotaExceeded,
    Unavailable,
)
from nuska.domain.limits import MAX_MESSAGES_PER_POST, MIN_MESSAGE_TTL, Limits
from nuska.domain.messages import (
    Added,
    DeleteOutcome,
    Idempotency,
    Message,
    NewMessage,
    Page,
    QueueRef,
)
from nuska.domain.metadata import QueueSettings
from nuska.domain.moments import Duration
from nuska.domain.positions import BEFORE_ALL, Position, parse_marker
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.storage import MessageStore
from nuska.interfaces.wakeups import Wakeups

PASSED_OVER = 100
"""Pages on which there is nothing that anybody could open, in one listing; then it has ended."""


class Draft(Struct, frozen=True, gc=False):
    """One message as posted: types checked, neither limits nor defaults applied."""

    body: bytes
    ttl: int | None = None
    delay: object = None
    """Whatever was posted: it counts, and is looked at, on delay queues only."""
    attributes: bytes | None = None


class Listing(Struct, frozen=True, gc=False):
    """One page of messages and how to go on from it."""

    messages: list[Message]
    marker: str
    shows_delayed: bool
    """The queue delays nothing, so the page would show delayed messages as well."""


class MessageService:
    def __init__(
        self,
        store: MessageStore,
        terms: Terms,
        watch: Watch,
        wakeups: Wakeups,
        clock: Clock,
        limits: Limits,
        bodies: Bodies,
        rates: Rates,
        usage: Usage,
        place: Callable[[str, str], QueueRef] = QueueRef,
    ) -> None:
        """``place``: the queue, or topic, that a project and a name mean."""
        self._store = store
        self._terms = terms
        self._watch = watch
        self._wakeups = wakeups
        self._clock = clock
        self._limits = limits
        self._bodies = bodies
        self._rates = rates
        self._usage = usage
        self._place = place

    async def settings(self, caller: Caller, name: str) -> QueueSettings:
        """What applies to a post: ask before reading its body, and hand it to ``post``."""
        queue = self._place(caller.project, name)
        allow(caller, "messages:create", queue)
        settings = await self._terms.of(queue)
        grant = caller.grant
        if grant is not None and grant.max_body is not None:
            smaller = min(settings.max_post_size, grant.max_body)
            settings = replace(settings, max_post_size=smaller)
        return settings

    async def post(
        self,
        caller: Caller,
        name: str,
        drafts: Sequence[Draft],
        *,
        settings: QueueSettings | None = None,
        idempotency: Idempotency | None = None,
        handed_over: Callable[[], None] | None = None,
    ) -> Added:
        """Store all of ``drafts`` or none; a queue that is missing is created. ``handed_over`` is
        called when nothing is awaited any more before the store has them."""
        queue = self._place(caller.project, name)
        allow(caller, "messages:create", queue)
        if settings is None:
            settings = await self._terms.of(queue)
        grant = caller.grant
        if grant is not None and grant.max_batch is not None:
            check_range("the number of messages", len(drafts), 1, grant.max_batch)
        if not 0 < len(drafts) <= MAX_MESSAGES_PER_POST:
            raise InvalidInput(
                f"The number of messages must be from 1 to {MAX_MESSAGES_PER_POST}, "
                f"not {len(drafts)}."
            )
        messages = [self._with_defaults(*numbered, settings) for numbered in enumerate(drafts)]
        self._rates.messages(caller.project, len(messages))
        encrypted = settings.encrypted
        if idempotency is not None:
            idempotency = self._bodies.remember(queue, idempotency)
        messages = await self._bodies.seal(queue, messages, encrypted=encrypted)
        if self._usage.is_limited:
            repeatable = idempotency is not None
            try:
                async with self._usage.for_post(queue, messages, counted=not repeatable) as room:
                    added = await self._add(queue, messages, caller, idempotency, handed_over)
                    room.stored = not added.replayed
            except QuotaExceeded as error:
                # A repeat needs no room: it is answered as the first was.
                if not repeatable:
                    raise
                added = await self._add(queue, [], caller, idempotency, handed_over)
                if not added.replayed:
                    self._usage.refused(queue, error)
                    raise
        else:
            added = await self._add(queue, messages, caller, idempotency, handed_over)
        if not added.replayed:
            self._wakeups.wake(queue, len(messages))
        return added

    async def _add(
        self,
        queue: QueueRef,
        messages: list[NewMessage],
        caller: Caller,
        idempotency: Idempotency | None,
        handed_over: Callable[[], None] | None,
    ) -> Added:
        if handed_over is not None:
            handed_over()
        return await self._store.add(
            queue,
            messages,
            poster=caller.client,
            idempotency=idempotency,
            now=self._clock.now(),
        )

    def _with_defaults(self, number: int, draft: Draft, settings: QueueSettings) -> NewMessage:
        ttl = draft.ttl
        longest = self._limits.max_message_ttl
        if ttl is not None and not MIN_MESSAGE_TTL <= ttl <= longest:
            check_range(f"ttl of message {number}", ttl, MIN_MESSAGE_TTL, longest)
        delay = settings.default_delay
        if delay and draft.delay is not None:
            delay = self._own_delay(number, draft.delay)
        if draft.attributes is not None and (ours := ours_in(draft.attributes)):
            raise InvalidInput(
                f"Message {number} may not have the attribute {ours[0]}, which only the service "
                "writes. Leave it out."
            )
        return NewMessage(
            body=draft.body,
            ttl=settings.default_ttl if ttl is None else Duration(ttl * 1000),
            delay=delay,
            attributes=draft.attributes,
        )

    def _own_delay(self, number: int, delay: object) -> Duration:
        if not isinstance(delay, int):
            raise InvalidBody(f"The value of delay of message {number} must be an integer.")
        check_range(f"delay of message {number}", delay, 0, self._limits.max_message_delay)
        return Duration(delay * 1000)

    async def page(
        self,
        caller: Caller,
        name: str,
        *,
        marker: str | None = None,
        limit: int | None = None,
        echo: bool = False,
        include_claimed: bool = False,
        include_delayed: bool = False,
        patience: Patience | None = None,
    ) -> Listing:
        """Messages after ``marker``, oldest first; waits for some if the caller has patience.

        A marker is one of ours or a message's id (K6); after anything else nothing comes.
        """
        queue = self._place(caller.project, name)
        allow(caller, "messages:get_all", queue)
        limit = page_size(limit, self._limits.max_messages_per_page)
        after, asked_by_us = await self._start(queue, marker)
        if after is None:
            return Listing([], "", False)

        async def look() -> Page:
            """The next page of messages that somebody can open."""
            begin = after
            for _ in range(PASSED_OVER):
                page = await self._store.page(
                    queue,
                    after=begin,
                    limit=limit,
                    hide_poster=None if echo else caller.client,
                    include_claimed=include_claimed,
                    include_delayed=include_delayed and not asked_by_us,
                    now=self._clock.now(),
                )
                shown = await self._bodies.open(queue, page.messages)
                if shown or not page.messages:
                    break
                begin = page.marker
            return Page(shown, page.marker)

        if patience is None:
            page = await look()
        else:
            page = await self._watch.until_found(
                look, lambda seen: not seen.messages, queue, patience, taker=False
            )
        if not page.messages:
            return Listing([], "", False)
        shows_delayed = not (await self._terms.of(queue)).default_delay
        ours = shows_delayed and (asked_by_us or not include_delayed)
        marker = f"{_OURS if ours else ''}{page.marker}"
        return Listing(page.messages, marker, shows_delayed=shows_delayed)

    async def _start(self, queue: QueueRef, marker: str | None) -> tuple[Position | None, bool]:
        """Where a page begins (None: nowhere), and whether ``include_delayed`` is our own."""
        if marker is None:
            return BEFORE_ALL, False
        position = parse_marker(marker.removeprefix(_OURS))
        if position is not None:
            return position, marker.startswith(_OURS)
        return await self._store.position_of(queue, marker), False

    async def by_ids(self, caller: Caller, name: str, ids: list[str]) -> list[Message]:
        """Those of ``ids`` that exist, in the order asked; ``NotFound`` when none does."""
        queue = self._place(caller.project, name)
        allow(caller, "messages:get_all", queue)
        ids = check_ids("ids", ids, self._limits.max_messages_per_page)
        found = await self._found(queue, ids)
        if not found:
            raise NotFound("None of these messages exists.")
        return found

    async def get(self, caller: Caller, name: str, message_id: str) -> Message:
        """One message, claimed or delayed or not."""
        queue = self._place(caller.project, name)
        allow(caller, "messages:get", queue)
        found = await self._found(queue, (message_id,))
        if not found:
            raise NotFound("There is no message of this id.")
        return found[0]

    async def _found(self, queue: QueueRef, ids: Sequence[str]) -> list[Message]:
        found = await self._store.get(queue, ids, now=self._clock.now())
        return await self._bodies.open(queue, found)

    async def delete(
        self, caller: Caller, name: str, message_id: str, claim_id: str | None = None
    ) -> None:
        """Delete one message, if it is free or ``claim_id`` is the live claim that holds it."""
        queue = self._place(caller.project, name)
        allow(caller, "messages:delete", queue)
        outcome = await self._store.delete(
            queue, message_id, claim_id=claim_id, now=self._clock.now()
        )
        match outcome:
            case DeleteOutcome.DELETED:
                self._usage.free(queue)
            case DeleteOutcome.CLAIMED:
                raise MessageClaimed("The message is claimed; name its claim to delete it.")
            case DeleteOutcome.OTHER_CLAIM:
                raise MessageClaimed("The message is held by another claim than the one named.")
            case DeleteOutcome.NOT_CLAIMED:
                raise NotTheClaim("The message is not currently claimed.")
            case DeleteOutcome.CLAIM_GONE:
                raise NotTheClaim("The claim does not exist or has expired.")

    async def delete_many(
        self, caller: Caller, name: str, ids: list[str], claim_ids: list[str] | None = None
    ) -> None:
        """Delete those of ``ids`` that exist, claimed or not, unless the operator demands
        that the claims be named (``message_delete_with_claim_id``)."""
        queue = self._place(caller.project, name)
        allow(caller, "messages:delete_all", queue)
        ids = check_ids("ids", ids, self._limits.max_messages_per_page)
        named: list[str] | None = None
        if self._limits.message_delete_with_claim_id:
            if not claim_ids:
                raise InvalidInput("This server asks for claim_ids together with ids.")
            named = check_ids("claim_ids", claim_ids, self._limits.max_messages_per_page)
        done = await self._store.delete_many(queue, ids, claim_ids=named, now=self._clock.now())
        if not done:
            raise NotTheClaim("At least one of the messages is not in any of the claims named.")
        self._usage.free(queue)

    async def pop(
        self, caller: Caller, name: str, limit: int, *, patience: Patience | None = None
    ) -> list[Message]:
        """Take up to ``limit`` messages away for good; waits for one with patience."""
        queue = self._place(caller.project, name)
        allow(caller, "messages:delete_all", queue)
        limit = check_range("pop", limit, 1, self._limits.max_messages_per_claim_or_pop)

        async def look() -> list[Message]:
            popped = await self._store.pop(queue, limit=limit, now=self._clock.now())
            try:
                opened = await self._bodies.open(queue, popped)
            except (Unavailable, CancelledError):
                await carried_out(partial(self._put_back, queue, popped))
                raise
            if popped:
                self._usage.free(queue)
            return opened

        if patience is None:
            return await look()
        return await self._watch.until_found(
            look, lambda popped: not popped, queue, patience, taker=True
        )

    async def undo_pop(self, caller: Caller, name: str, popped: Sequence[Message]) -> None:
        """The client went before its answer: put the messages back where they stood."""
        queue = self._place(caller.project, name)
        allow(caller, "messages:delete_all", queue)
        await self._put_back(queue, as_stored(popped))

    async def _put_back(self, queue: QueueRef, popped: Sequence[Message]) -> None:
        await self._store.put_back(queue, popped, now=self._clock.now())
        self._wakeups.wake(queue, len(popped))


_OURS = "0"
"""Begins the markers of next links in which ``include_delayed=true`` is our doing, not the
client's wish: contract http-v2 §3.2 shows it on queues without a delay, and I9 still hides
what is not due from a reader that only follows links."""
