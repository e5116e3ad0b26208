"""Subscribers that are queues of the same project: one post feeds many.

Posts a copy with what is left of the message's ttl. A copy carries which message it is of, and
how many queues it has come through: a queue takes one copy of a message, whichever ways lead
there, and none goes further than ``MAX_HOPS``. So rings of queues end, whoever built them.
When somebody has the past told again, that makes one more copy each time.
"""

import asyncio
import logging
from hashlib import sha256

import msgspec

from nuska.core.bodies import Bodies
from nuska.core.terms import Terms
from nuska.core.usage import Usage
from nuska.delivery.senders.outcomes import failed, refused
from nuska.domain.attributes import HOPS, ORIGIN, ROUND
from nuska.domain.errors import Conflict, NuskaError
from nuska.domain.internal import owner_of
from nuska.domain.limits import MAX_ATTRIBUTES
from nuska.domain.messages import Idempotency, Message, NewMessage, QueueRef
from nuska.domain.metadata import is_queue_name
from nuska.domain.moments import Duration
from nuska.domain.positions import parse_message_id
from nuska.domain.sealed import is_sealed
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import ConfirmationRequest, Notification, Outcome
from nuska.interfaces.storage import MessageStore
from nuska.interfaces.wakeups import Wakeups

logger = logging.getLogger("nuska.delivery")

MOST = 2**53
"""What a number of ours is at most."""
MAX_HOPS = 8
"""Queues that a copy may come through."""


class QueueSender:
    """Implements ``Sender`` for ``queue``."""

    def __init__(
        self,
        messages: MessageStore,
        terms: Terms,
        wakeups: Wakeups,
        clock: Clock,
        bodies: Bodies,
        usage: Usage,
        *,
        total: float,
    ) -> None:
        """``total``: seconds that an attempt may take."""
        self._messages = messages
        self._terms = terms
        self._wakeups = wakeups
        self._clock = clock
        self._bodies = bodies
        self._usage = usage
        self._total = total

    async def send(self, notification: Notification) -> Outcome:
        loop = asyncio.get_running_loop()
        started = loop.time()

        def latency() -> Duration:
            return Duration(round((loop.time() - started) * 1000))

        try:
            async with asyncio.timeout(self._total):
                problem = await self._copy(notification)
        except TimeoutError:
            return failed("The store did not take the message in time.", latency())
        except Conflict:
            return refused("The queue has another message of this delivery already.")
        except NuskaError as error:
            return failed(error.description, latency())
        except Exception as error:
            logger.error("copying to a queue failed unexpectedly", exc_info=error)
            return failed("The store failed.", latency())
        return refused(problem) if problem else Outcome(ok=True, latency=latency())

    async def _copy(self, notification: Notification) -> str | None:
        """Post the copy; why it can never be posted, or None."""
        message, subscription = notification.message, notification.subscription
        target = _target(subscription)
        if not is_queue_name(target.name):
            return "The subscriber is not the name of a queue."
        origin, round_ = _origin(message)
        round_ = notification.round or round_
        attributes = _counted(message.attributes, origin, round_)
        if attributes is None:
            return f"The message has come through {MAX_HOPS} queues: they are in a ring."
        if len(attributes) > MAX_ATTRIBUTES:
            return "The message has no room left for the count of queues it came through."
        settings = await self._terms.of(target)
        if len(message.body) > settings.max_post_size:
            return "The message is larger than the queue takes."
        body = message.stored or message.body
        sealing = settings.encrypted and not is_sealed(body)
        now = self._clock.now()
        if message.expires_at <= now:
            return "The message has expired."
        copy = NewMessage(
            body=body,
            ttl=Duration(message.expires_at - now),
            delay=settings.default_delay,
            attributes=attributes,
        )
        key = f"copy.{origin}.{round_}" if round_ else f"copy.{origin}"
        once = Idempotency(key, sha256(body).digest())
        once = self._bodies.remember(target, once)
        copies = await self._bodies.seal(target, [copy], encrypted=True) if sealing else [copy]
        async with self._usage.for_post(target, copies) as room:
            added = await self._messages.add(
                target, copies, poster=message.poster, idempotency=once, now=now
            )
            room.stored = not added.replayed
        if not added.replayed:
            self._wakeups.wake(target, 1)
        return None

    async def ask(self, _: Subscription, __: ConfirmationRequest) -> Outcome:
        return refused("A queue has nobody to confirm.")

    def endpoint(self, subscription: Subscription) -> str:
        target = _target(subscription)
        return f"queue:{target.project}/{target.name}"

    async def close(self) -> None:
        """The store is somebody else's."""


def _target(subscription: Subscription) -> QueueRef:
    name = subscription.subscriber.partition(":")[2]
    return QueueRef(owner_of(subscription.queue.project), name)


def _origin(message: Message) -> tuple[str, int]:
    """The message that was posted in the first place, and which telling again it is of."""
    values = _values(message.attributes)
    if _number(values.get(HOPS)) == 0:
        return message.id, 0  # no copy
    try:
        written = msgspec.json.decode(values.get(ORIGIN, msgspec.Raw(b"null")), type=str)
    except msgspec.ValidationError:
        return message.id, 0
    if not parse_message_id(written):
        return message.id, 0
    return written, _number(values.get(ROUND))


def _counted(attributes: bytes | None, origin: str, round_: int) -> bytes | None:
    """``attributes`` with one hop more; None when there were too many. What else stands there,
    and in which words, is left as it is."""
    values = _values(attributes)
    hops = _number(values.get(HOPS))
    if hops >= MAX_HOPS:
        return None
    ours = {HOPS: str(hops + 1), ORIGIN: f'"{origin}"'}
    if round_:
        ours[ROUND] = str(round_)
    return msgspec.json.encode(
        values | {name: msgspec.Raw(text.encode()) for name, text in ours.items()}
    )


def _values(attributes: bytes | None) -> dict[str, msgspec.Raw]:
    if attributes is None:
        return {}
    return msgspec.json.decode(attributes, type=dict[str, msgspec.Raw])


def _number(written: msgspec.Raw | None) -> int:
    """What a copy says, or 0."""
    try:
        return 0 if written is None else min(max(0, msgspec.json.decode(written, type=int)), MOST)
    except msgspec.ValidationError:
        return 0
