"""Webhooks that are called with a token of Keystone (contract notifications §3).

Only the way in: whoever can get a token from a trust is handed in. Without one nothing is sent,
and the attempt log says why.
"""

from typing import Protocol

from nuska.delivery.senders.outcomes import failed, refused
from nuska.delivery.senders.webhook import WebhookSender
from nuska.domain.errors import NuskaError
from nuska.domain.moments import Duration
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.notifications import ConfirmationRequest, Notification, Outcome

NO_KEYSTONE = "A trust+ subscriber needs Keystone, which is not configured on this server."
TOKEN_HEADER = "X-Auth-Token"  # noqa: S105  # the name of a header


class TrustTokens(Protocol):
    """Whoever gets tokens from trusts; keeps them while they are good."""

    async def token(self, trust_id: str) -> str:
        """A token that is good for some minutes more. Raises ``NuskaError`` within seconds."""
        ...


class TrustSender:
    """Implements ``Sender`` for ``trust+http`` and ``trust+https``."""

    def __init__(self, webhooks: WebhookSender, tokens: TrustTokens | None = None) -> None:
        self._webhooks = webhooks
        self._tokens = tokens

    async def send(self, notification: Notification) -> Outcome:
        headers = await self._headers(notification.subscription)
        if isinstance(headers, Outcome):
            return headers
        return await self._webhooks.send_as(notification, headers)

    async def ask(self, subscription: Subscription, request: ConfirmationRequest) -> Outcome:
        headers = await self._headers(subscription)
        if isinstance(headers, Outcome):
            return headers
        return await self._webhooks.ask_as(subscription, request, headers)

    def endpoint(self, subscription: Subscription) -> str:
        return self._webhooks.endpoint(subscription)

    async def close(self) -> None:
        """The connections are the webhooks'."""

    async def _headers(self, subscription: Subscription) -> dict[str, str] | Outcome:
        if self._tokens is None:
            return refused(NO_KEYSTONE)
        trust = subscription.options.get("trust_id")
        if not isinstance(trust, str) or not trust:
            return refused("The subscription has no trust_id.")
        try:
            return {TOKEN_HEADER: await self._tokens.token(trust)}
        except NuskaError as error:
            return failed(error.description, Duration(0))
