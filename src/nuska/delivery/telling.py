"""One message of a queue to one of its recipients, and what comes of that.

Done, put off, given up, or the end of telling him: what is to be written stands in the journal
afterwards, what he is told next is up to the follower.
"""

import asyncio
from typing import Protocol

from nuska.core.dead_letters import Buried, Letter, letter_of
from nuska.core.deliveries import Row
from nuska.core.subscription_records import Trouble
from nuska.delivery.attempting import POLICY_KEY, Verdict
from nuska.delivery.journal import DueRow, Journal
from nuska.delivery.leased import LateDelivery
from nuska.delivery.node import Node
from nuska.delivery.pages import LogPages
from nuska.delivery.recipients import Post, Recipient
from nuska.delivery.retrying import Retries
from nuska.domain.errors import InvalidInput, Unavailable
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import Position
from nuska.domain.retries import RetryPolicy, parse_retry_policy
from nuska.domain.subscriptions import SubscriptionId

POLICY_BELIEVED_FOR = 1_000
"""Milliseconds."""


class Tells(Protocol):
    """A followed queue, as those who tell its recipients see it."""

    queue: QueueRef
    node: Node
    log: LogPages
    journal: Journal
    retries: Retries
    recipients: dict[SubscriptionId, Recipient]
    cleared: Position
    """What stands no further was purged."""
    ended: bool
    changed: bool
    touched: bool

    def rest(self, recipient: Recipient) -> None: ...

    def let_read_on(self, recipient: Recipient) -> None: ...

    def write_row(self, due: DueRow) -> None: ...

    def miss(self, recipients: int) -> None: ...


class Telling:
    def __init__(self, follower: Tells) -> None:
        self._follower = follower
        self._node = follower.node
        self.disabling: dict[SubscriptionId, str] = {}
        """Who is to be told nothing more, and why; not written yet."""
        self.troubles: dict[SubscriptionId, Trouble | None] = {}
        """Whose trouble has begun, changed or ended; not written yet."""
        self._policy: RetryPolicy | None = None
        self._policy_read_at: Moment | None = None

    async def deliver(self, recipient: Recipient, post: Post, *, probe: bool) -> None:
        follower = self._follower
        position = post.position
        try:
            message = await follower.log.message(position)
        except Unavailable:
            post.in_flight = False
            recipient.breaker.probing = False
            self._node.counters.failures += 1
            follower.changed = True  # look again when the store answers
            self._node.wake(follower)
            return
        if recipient.gone:
            return
        if message is None or position <= follower.cleared:
            follower.miss(1)
            recipient.breaker.probing = False
            recipient.done_with(post)
        else:
            try:
                verdict = await self._attempt(
                    recipient,
                    message,
                    recipient.failures,
                    probe=probe,
                    own_probe=recipient.breaker.probing,
                    round_=recipient.round_of(position),
                )
            except asyncio.CancelledError:
                post.in_flight = False
                recipient.breaker.probing = False
                raise
            if recipient.gone:
                return
            self._conclude(recipient, post, message, verdict)
            if recipient.breaker.is_open:
                follower.rest(recipient)
        follower.touched = True
        if recipient.has_more():
            self._node.dispatch.offer(recipient)
        follower.let_read_on(recipient)

    def _conclude(
        self, recipient: Recipient, post: Post, message: Message, verdict: Verdict
    ) -> None:
        follower = self._follower
        if verdict.ok:
            recipient.done_with(post)
        elif verdict.gone:
            post.in_flight = False
            self._disable(recipient, verdict.error)
        elif verdict.next_at is None:
            self._bury(recipient, letter_of(message), verdict)
            recipient.done_with(post)
        elif recipient.ordered:
            post.in_flight = False
            recipient.failures, recipient.next_at = verdict.failures, verdict.next_at
            follower.rest(recipient)
        else:
            row = Row(
                subscriptions=[recipient.id],
                failures=verdict.failures,
                letter=letter_of(message),
                error=verdict.error,
                round=recipient.round_of(message.position),
            )
            key = f"{recipient.id}:{message.position}:{verdict.failures}:{self._node.clock.now()}"
            follower.write_row(DueRow(key, row, verdict.next_at))
            recipient.done_with(post)

    async def deliver_late(self, late: LateDelivery, *, probe: bool) -> None:
        follower = self._follower
        recipient, row = late.recipient, late.leased.row
        verdict = await self._attempt(
            recipient,
            late.leased.message,
            row.failures,
            probe=probe,
            once=row.trial,
            round_=row.round,
        )
        if follower.ended:
            return
        follower.touched = True
        if verdict.ok or row.trial or recipient.id not in follower.recipients:
            follower.retries.dealt_with(late)
        elif verdict.gone:
            self._disable(recipient, verdict.error)
            follower.retries.postpone(late, self._node.clock.now())
        elif verdict.next_at is None:
            self._bury(recipient, row.letter, verdict)
            follower.retries.dealt_with(late)
        else:
            follower.retries.again(late, verdict.failures, verdict.error, verdict.next_at)

    async def _attempt(
        self,
        recipient: Recipient,
        message: Message,
        failures: int,
        *,
        probe: bool,
        own_probe: bool = False,
        once: bool = False,
        round_: int = 0,
    ) -> Verdict:
        verdict = await self._node.attempting.attempt(
            recipient.subscription,
            message,
            recipient.endpoint,
            self._follower.journal,
            self._queue_policy,
            failures=failures,
            probe=probe,
            once=once,
            round_=round_,
        )
        if verdict.ok:
            if recipient.breaker.succeeded() and recipient.has_more():
                self._node.dispatch.offer(recipient)
        elif verdict.answered and verdict.next_at is not None:
            recipient.breaker.failed(verdict.error, self._node.clock.now(), probe=own_probe)
        own = recipient.breaker
        own.probing &= not own_probe
        breaker = own if own.is_open else recipient.endpoint.breaker
        if verdict.ok and recipient.troubled:
            self.troubles[recipient.id] = None
            recipient.troubled = False
        elif not verdict.ok and breaker.is_open:
            recipient.troubled = True
            self.troubles[recipient.id] = Trouble(
                since=breaker.since,
                error=breaker.error,
                failures=breaker.failures,
                next_at=breaker.next_at,
                pause=breaker.pause,
                endpoint="" if breaker is own else recipient.endpoint.address,
            )
        return verdict

    async def _queue_policy(self) -> RetryPolicy | None:
        """What the queue's metadata say of retries; when they cannot be read, what they said."""
        now = self._node.clock.now()
        if self._policy_read_at is None or now - self._policy_read_at >= POLICY_BELIEVED_FOR:
            try:
                queue = await self._node.store.queues.get(self._follower.queue)
                metadata = {} if queue is None else queue.metadata
                self._policy = parse_retry_policy(metadata.get(POLICY_KEY))
                self._policy_read_at = now
            except (Unavailable, InvalidInput):
                pass
        return self._policy

    def _disable(self, recipient: Recipient, reason: str) -> None:
        self.disabling[recipient.id] = reason
        recipient.disable(reason, self._node.clock.now())

    def _bury(self, recipient: Recipient, letter: Letter, verdict: Verdict) -> None:
        now = self._node.clock.now()
        buried = Buried(
            subscription=recipient.id,
            subscriber=recipient.subscription.subscriber,
            reason=verdict.error,
            attempts=verdict.failures,
            at=now,
            letter=letter,
        )
        self._follower.journal.bury(f"{recipient.id}:{letter.position}:{now}", buried)
