"""One message to one subscriber: tries, says what is next, and has every attempt recorded."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from nuska.core.bodies import Bodies
from nuska.core.deliveries import Attempt
from nuska.delivery.counters import DeliveryCounters
from nuska.delivery.dispatch import Dispatch
from nuska.delivery.endpoints import Endpoint
from nuska.delivery.journal import Journal
from nuska.domain.errors import InvalidInput, Unavailable
from nuska.domain.messages import Message
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.domain.retries import RetryPolicy, choose, parse_retry_policy
from nuska.domain.sealed import is_sealed
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import Notification, Outcome, Sender

LONGEST_WISH = seconds(3_600)
"""A subscriber who asks to be left alone for longer is asked again after this."""
POLICY_KEY = "_retry_policy"
ERASED = "Nobody can open the message any more: its key was erased, or the message changed."

logger = logging.getLogger("nuska.delivery")

QueuePolicy = Callable[[], Awaitable[RetryPolicy | None]]
"""What the queue says about retries."""


class Verdict(Struct, frozen=True, gc=False, kw_only=True):
    """What became of a message after its attempts for now."""

    ok: bool = False
    failures: int = 0
    """Attempts that failed, of all times."""
    next_at: Moment | None = None
    """When it is to be tried again; None: not at all."""
    gone: bool = False
    """The subscriber wants nothing any more."""
    error: str = ""
    answered: bool = False
    """Somebody was there, whatever he said."""


class Attempting:
    """Tries deliveries of one process."""

    def __init__(
        self,
        senders: Mapping[str, Sender],
        dispatch: Dispatch,
        clock: Clock,
        counters: DeliveryCounters,
        bodies: Bodies,
    ) -> None:
        self._senders = senders
        self._dispatch = dispatch
        self._clock = clock
        self._counters = counters
        self._bodies = bodies
        self.stopping = False

    def address(self, subscription: Subscription) -> str:
        """What the subscriber's endpoint is called."""
        sender = self._senders.get(subscription.scheme)
        return f"{subscription.scheme}:" if sender is None else sender.endpoint(subscription)

    async def attempt(
        self,
        subscription: Subscription,
        message: Message,
        endpoint: Endpoint,
        journal: Journal,
        queue_policy: QueuePolicy,
        *,
        failures: int,
        probe: bool,
        once: bool = False,
        round_: int = 0,
    ) -> Verdict:
        """Try once, and again at once for as long as the policy says so, unless only ``once``."""
        while True:
            outcome = await self._send(subscription, message, failures + 1, round_)
            verdict = await self._judge(outcome, subscription, failures, queue_policy)
            if once:
                verdict = replace(verdict, next_at=None)
            self._note(verdict, outcome, endpoint, probe=probe)
            now = self._clock.now()
            journal.attempt(
                Attempt(
                    subscription=subscription.id,
                    message=message.id,
                    at=now,
                    number=failures + 1,
                    ok=outcome.ok,
                    latency=outcome.latency,
                    status=outcome.status,
                    error=outcome.error,
                    next_at=verdict.next_at,
                )
            )
            failures = verdict.failures
            if verdict.next_at is None or verdict.next_at > now or self.stopping:
                return verdict
            probe = False

    async def _send(
        self, subscription: Subscription, message: Message, number: int, round_: int
    ) -> Outcome:
        sender = self._senders.get(subscription.scheme)
        if sender is None:
            return Outcome(
                ok=False,
                latency=Duration(0),
                permanent=True,
                error=f"This server reaches no subscribers of the kind {subscription.scheme}.",
            )
        notification = Notification(
            subscription=subscription,
            message=message,
            attempt=number,
            name=subscription.queue.name,
            round=round_,
        )
        try:
            if message.stored is None and is_sealed(message.body):
                opened = await self._bodies.open(subscription.queue, [message])
                if not opened:
                    return Outcome(
                        ok=False,
                        latency=Duration(0),
                        permanent=True,
                        error=ERASED,
                    )
                notification = replace(notification, message=opened[0])
            return await sender.send(notification)
        except Unavailable as error:
            return Outcome(ok=False, latency=Duration(0), error=error.description)
        except Exception as error:
            logger.error("a sender failed unexpectedly", exc_info=error)
            return Outcome(ok=False, latency=Duration(0), error="An internal error.")

    async def _judge(
        self, outcome: Outcome, subscription: Subscription, failures: int, policy: QueuePolicy
    ) -> Verdict:
        if outcome.ok:
            return Verdict(ok=True, failures=failures)
        error = outcome.error or "It failed."
        failures += 1
        answered = outcome.status is not None
        if outcome.gone or outcome.permanent:
            return Verdict(failures=failures, gone=outcome.gone, error=error, answered=answered)
        chosen = choose(await policy(), _own_policy(subscription))
        delay = chosen.delay_after(failures)
        if delay is None:
            return Verdict(failures=failures, error=error, answered=answered)
        if outcome.retry_after is not None:
            delay = Duration(max(delay, min(outcome.retry_after, LONGEST_WISH)))
        next_at = after(self._clock.now(), delay)
        return Verdict(failures=failures, next_at=next_at, error=error, answered=answered)

    def _note(self, verdict: Verdict, outcome: Outcome, endpoint: Endpoint, *, probe: bool) -> None:
        """The endpoint's health; an answer that is final says nothing bad about it."""
        counters = self._counters
        if verdict.ok:
            counters.delivered += 1
            self._dispatch.well(endpoint)
            return
        if verdict.next_at is None:
            counters.exhausted += not verdict.gone
        else:
            counters.failed += 1
        if not (outcome.permanent or outcome.gone or verdict.answered):
            self._dispatch.unwell(endpoint, verdict.error, probe=probe)


def _own_policy(subscription: Subscription) -> RetryPolicy | None:
    with suppress(InvalidInput):  # it was checked when it was made; by an earlier version, perhaps
        return parse_retry_policy(subscription.options.get(POLICY_KEY))
    return None
