"""A claim that is held while somebody works on its messages.

It is renewed behind the work, gives back at the end what was not deleted, and stops the work
when it is lost, because then another worker may have the messages.
"""

import asyncio
import logging
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from nuska.client.claims import QueueClaims
from nuska.client.errors import BadRequest, ClaimLost, ClientError, NotAllowed, NotFound
from nuska.client.records import Message

RENEWALS_PER_TTL = 3
"""A claim is renewed after a third of its life, so that two renewals may fail."""
RETRIES_PER_RENEWAL = 10
"""A failed renewal is tried again after a tenth of the time between two."""
RELEASE_TIMEOUT = 5.0
"""Seconds spent on giving messages back; if that fails, the claim ends by itself."""
UNABLE_TO_DELETE = "Unable to delete"
"""The server's title for a delete whose claim does not hold the message (any more)."""

log = logging.getLogger("nuska.client")


class ClaimedMessage:
    """A message in a held claim."""

    def __init__(self, record: Message, claim: "HeldClaim") -> None:
        self.record = record
        self._claim = claim

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def body(self) -> Any:
        return self.record.body

    @property
    def ttl(self) -> int:
        return self.record.ttl

    @property
    def age(self) -> int:
        return self.record.age

    @property
    def attributes(self) -> dict[str, Any] | None:
        return self.record.attributes

    async def delete(self) -> None:
        """The work is done: delete the message. ``ClaimLost`` when it is no longer ours."""
        await self._claim.delete(self)

    def __repr__(self) -> str:
        return f"<ClaimedMessage {self.id}>"


class HeldClaim:
    """A claim for the length of an ``async with`` block.

    Entering it claims messages; with nothing to claim it is empty, and false. While the block
    runs, the claim is renewed in the background. When the block ends, in whichever way, the
    messages that were not deleted are free for others at once. If the claim is lost (the
    server was out of reach for too long, or somebody released it), the block is cancelled
    where it waits and ``ClaimLost`` comes out of it.
    """

    def __init__(
        self,
        queue: QueueClaims,
        *,
        limit: int,
        ttl: int,
        grace: int | None,
        wait: int,
        attributes: bool,
    ) -> None:
        self._queue = queue
        self._limit, self._ttl, self._grace = limit, ttl, grace
        self._wait, self._attributes = wait, attributes
        self._messages: dict[str, ClaimedMessage] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._holder: asyncio.Task[Any] | None = None
        self._cancellations = 0
        self._cancelled = False
        self._kept = False
        self.id: str | None = None
        """The claim's id; None when there was nothing to claim."""
        self.lost = False
        """The claim has ended before its holder was done."""

    async def __aenter__(self) -> Self:
        self._holder = asyncio.current_task()
        self._cancellations = self._holder.cancelling() if self._holder else 0
        await self.acquire()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        holder, self._holder = self._holder, None  # from here on nothing cancels the block
        await self.end()
        if holder is None or not self._cancelled:
            return
        # As asyncio.timeout: our own cancellation becomes an error, another's stays what it is.
        only_ours = holder.uncancel() <= self._cancellations
        if only_ours and (error is None or isinstance(error, asyncio.CancelledError)):
            raise self._loss() from error

    async def acquire(self) -> None:
        """Claim, and begin to renew; what entering the block does."""
        claim = await self._queue.create_claim(
            limit=self._limit,
            ttl=self._ttl,
            grace=self._grace,
            wait=self._wait,
            attributes=self._attributes,
        )
        if claim is None:
            return
        self.id = claim.id
        self._messages = {record.id: ClaimedMessage(record, self) for record in claim.messages}
        self._renewing = asyncio.create_task(self._renew(claim.id), name=f"renew {claim.id}")

    def keep(self) -> None:
        """Leave the messages claimed when the block ends.

        Nobody renews the claim then. Its messages are free when it ends, or when somebody
        releases it by its id.
        """
        self._kept = True

    async def end(self) -> None:
        """Stop renewing and give back what was not deleted; what leaving the block does."""
        if self._renewing is not None:
            renewing, self._renewing = self._renewing, None
            renewing.cancel()
            await asyncio.wait([renewing])
            if not renewing.cancelled() and (bug := renewing.exception()):
                raise bug
        if self.id is None or self.lost or self._kept or not self._messages:
            return
        try:
            await self._queue.release_claim(self.id, timeout=RELEASE_TIMEOUT)
        except ClientError as error:
            log.warning("claim %s could not be released and ends by itself: %s", self.id, error)
        self._messages.clear()

    async def delete(self, message: ClaimedMessage) -> None:
        """Delete one message of this claim; ``ClaimLost`` when it is no longer ours."""
        if self.lost:
            raise self._loss()
        try:
            await self._queue.delete_message(message.id, claim_id=self.id)
        except (BadRequest, NotAllowed) as error:
            if error.title != UNABLE_TO_DELETE:
                raise
            raise self._loss() from error
        self._messages.pop(message.id, None)

    async def delete_all(self) -> None:
        """Delete every message that is left, in as few calls as possible.

        Unlike ``delete``, the server does not check that the claim is still alive.
        """
        if self.lost:
            raise self._loss()
        if self.id is not None and self._messages:
            await self._queue.delete_messages(list(self._messages), claim_ids=[self.id])
            self._messages.clear()

    def __iter__(self) -> Iterator[ClaimedMessage]:
        """The messages not yet deleted; they may be deleted while iterating."""
        return iter(list(self._messages.values()))

    def __len__(self) -> int:
        return len(self._messages)

    async def _renew(self, claim_id: str) -> None:
        """Renew well before the end; keep trying until the end when the server is away."""
        timing = self._queue.timing
        held_until = timing.clock() + self._ttl
        pause = self._ttl / RENEWALS_PER_TTL
        while True:
            await timing.sleep(pause)
            if not self._messages:
                return
            asked_at = timing.clock()
            try:
                await self._queue.renew_claim(claim_id, ttl=self._ttl, grace=self._grace)
            except NotFound:
                self._lose()
                return
            except ClientError as error:
                left = held_until - timing.clock()
                if left <= 0:
                    self._lose()
                    return
                log.warning("claim %s is not renewed yet: %s", claim_id, error)
                pause = min(left, self._ttl / RENEWALS_PER_TTL / RETRIES_PER_RENEWAL)
            else:
                held_until = asked_at + self._ttl
                pause = self._ttl / RENEWALS_PER_TTL

    def _lose(self) -> None:
        self.lost = True
        if self._holder is not None:
            self._cancelled = True
            self._holder.cancel()

    def _loss(self) -> ClaimLost:
        return ClaimLost(
            f"Claim {self.id} on queue {self._queue.name!r} is over; "
            "another worker may have its messages."
        )
