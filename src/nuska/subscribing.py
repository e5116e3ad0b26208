"""What the settings mean for subscriptions: who may be a subscriber, whom the service may call,
who must confirm.
"""

from nuska.core.confirmations import ConfirmationRules
from nuska.core.subscribers import SubscriberRules
from nuska.domain.egress import EgressPolicy, judge_url, parse_networks
from nuska.domain.moments import seconds
from nuska.domain.signing import Signer
from nuska.interfaces.notifications import Trusts
from nuska.ports import is_private
from nuska.settings import Settings


def egress_policy(settings: Settings) -> EgressPolicy:
    """Whom the service may call on behalf of its users. Its own machine only while nobody but
    that machine can reach the service."""
    return EgressPolicy(
        allowed=parse_networks(settings.allowed_networks),
        loopback=not settings.insecure_open and is_private(settings.address),
    )


def subscriber_rules(settings: Settings, trusts: Trusts | None = None) -> SubscriberRules:
    policy = egress_policy(settings)

    def check_url(url: str) -> None:
        judge_url(url, policy)

    return SubscriberRules(kinds=settings.subscriber_types, check_url=check_url, trusts=trusts)


def confirmation_rules(settings: Settings, signer: Signer | None) -> ConfirmationRules:
    """Who must confirm; ``signer``: by what he proves that he was asked."""
    return ConfirmationRules(
        who=settings.require_confirmation,
        signer=signer,
        public_url=settings.public_url.rstrip("/") or None,
        sends_mail=settings.mail.smtp_mode != "off",
        goodbye_ttl=seconds(settings.limits.default_subscription_ttl),
    )
