"""Webhooks with a token of Keystone: the way in."""

from nuska.delivery.senders.trust import NO_KEYSTONE, TrustSender
from nuska.domain.errors import Unavailable
from nuska.testing.receiver import receiver

from .conftest import Notify, Webhooks


class Tokens:
    async def token(self, trust_id: str) -> str:
        if trust_id == "down":
            raise Unavailable("Keystone does not answer.")
        return f"token of {trust_id}"


async def test_without_keystone_nothing_is_sent_and_the_reason_is_said(
    webhooks: Webhooks, notify: Notify
) -> None:
    async with receiver() as hooks, webhooks() as plain:
        outcome = await TrustSender(plain).send(notify(f"trust+{hooks.url()}", trust_id="t"))
        assert (outcome.permanent, outcome.error) == (True, NO_KEYSTONE)
        assert hooks.connections == 0


async def test_with_keystone_a_token_goes_along_and_the_subscriptions_headers_on_top(
    webhooks: Webhooks, notify: Notify
) -> None:
    async with receiver() as hooks, webhooks() as plain:
        sender, url = TrustSender(plain, Tokens()), f"trust+{hooks.url()}"
        assert (await sender.send(notify(url, trust_id="t"))).ok
        own = {"x-auth-token": "mine"}
        assert (await sender.send(notify(url, trust_id="t", post_headers=own))).ok
        assert (await sender.send(notify(url))).permanent
        assert not (down := await sender.send(notify(url, trust_id="down"))).ok
        assert not down.permanent
        tokens = [request.headers["x-auth-token"] for request in hooks.requests]
        assert tokens == ["token of t", "mine"]
        assert sender.endpoint(notify(url).subscription) == hooks.url("")
