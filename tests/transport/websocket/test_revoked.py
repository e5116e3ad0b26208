"""What was shown on a connection holds until it expires or is revoked, and no longer."""

from collections.abc import Awaitable

import pytest

from nuska.core import Core, build_core
from nuska.domain.errors import NotAuthenticated
from nuska.domain.moments import Moment
from nuska.interfaces.identity import Credentials, Verified
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import START, ManualClock, seeded_bytes
from nuska.transport.websocket.standing import Standing

SHOWN = {"X-Auth-Token": "t", "X-Project-ID": "shop"}


class Tokens:
    believes_claims = False

    def __init__(self) -> None:
        self.revoked = False
        self.expires_at: Moment | None = None

    def identify(self, credentials: Credentials) -> Verified | Awaitable[Verified]:
        if credentials.token != "t":
            raise NotAuthenticated
        return Verified(project="shop", expires_at=self.expires_at)

    def still_holds(self, credentials: Credentials) -> bool:
        assert credentials.token == "t"
        return not self.revoked


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def core(clock: ManualClock) -> Core:
    return build_core(store=MemoryStore(now=START, random_bytes=seeded_bytes()), clock=clock)


async def test_a_revoked_token_ends_its_connection_within_seconds(
    core: Core, clock: ManualClock
) -> None:
    tokens = Tokens()
    standing = Standing(core, tokens, None)
    await standing.authenticate(SHOWN)
    for _ in range(5):
        ends_at = standing.ends_at
        assert ends_at is not None
        assert ends_at <= clock.now() + 2000
        assert not standing.is_over(clock.advance(seconds=2))
    tokens.revoked = True
    assert standing.is_over(clock.advance(seconds=2))


async def test_a_token_ends_its_connection_when_it_expires(core: Core, clock: ManualClock) -> None:
    tokens = Tokens()
    tokens.expires_at = Moment(START + 1500)
    standing = Standing(core, tokens, None)
    await standing.authenticate(SHOWN)
    assert standing.ends_at == START + 1500
    assert not standing.is_over(clock.advance(milliseconds=1499))
    assert standing.is_over(clock.advance(milliseconds=1))


async def test_another_project_than_the_tokens_is_refused(core: Core) -> None:
    standing = Standing(core, Tokens(), None)
    with pytest.raises(NotAuthenticated):
        await standing.authenticate({**SHOWN, "X-Project-ID": "bank"})
    assert standing.ends_at is None
