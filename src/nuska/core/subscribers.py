"""Who may be a subscriber, and by which trust he is called."""

from msgspec import Struct

from nuska.core.access import allow
from nuska.domain.errors import InvalidInput
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, after
from nuska.domain.subscribers import KINDS, TRUST, CheckUrl, check_subscriber
from nuska.domain.subscription_options import check_options
from nuska.domain.subscriptions import Options, Subscription
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import Trusts


class SubscriberRules(Struct, frozen=True, kw_only=True):
    """Who may be a subscriber here."""

    kinds: tuple[str, ...] = KINDS
    check_url: CheckUrl = lambda _: None
    trusts: Trusts | None = None
    """None where there is no Keystone."""


class Subscribers:
    """What the rules say of one; asked before a subscription is made or changed."""

    def __init__(self, rules: SubscriberRules, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock

    @staticmethod
    def check_target(caller: Caller, subscriber: str) -> None:
        """Whoever may not post to a queue has nothing copied there either."""
        scheme, _, target = subscriber.partition(":")
        if scheme.lower() == "queue":
            allow(caller, "messages:create", QueueRef(caller.project, target))

    def check(self, queue: QueueRef, subscriber: str, options: Options | None) -> None:
        check_subscriber(subscriber, queue, self._rules.kinds, self._rules.check_url)
        if subscriber.lower().startswith(TRUST) and self._rules.trusts is None:
            raise InvalidInput(
                "A trust+ subscriber needs Keystone, which is not configured on this server."
            )
        if options:
            check_options(options)

    async def trusted(
        self,
        caller: Caller,
        token: str | None,
        subscriber: str,
        options: Options,
        ttl: Duration,
    ) -> Options:
        """With the trust by which the subscriber will be called, if it needs one."""
        trusts, named = self._rules.trusts, options.get("trust_id")
        if trusts is None or not subscriber.lower().startswith(TRUST):
            return options
        if isinstance(named, str) and named:
            await trusts.check(caller, named)
            return options
        until = after(self._clock.now(), ttl)
        return {**options, "trust_id": await trusts.create(caller, token, until=until)}

    async def trusted_again(self, caller: Caller, found: Subscription, options: Options) -> Options:
        """Options for a subscription that is there, which keeps its trust unless they name one
        of the caller's."""
        kept = found.options.get("trust_id")
        is_trusted = found.subscriber.lower().startswith(TRUST) and kept is not None
        if is_trusted and options.get("trust_id") in (None, kept):
            return {**options, "trust_id": kept}
        return await self.trusted(caller, None, found.subscriber, options, found.ttl)
