"""What was shown on a connection counts for as long as it holds, for what it is good for by now."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from websockets.exceptions import ConnectionClosed

from nuska.core import Core, build_core
from nuska.core.access import Access
from nuska.core.messages import Draft
from nuska.domain.errors import NotAuthenticated
from nuska.domain.moments import Moment
from nuska.interfaces.identity import Caller, Verified
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import START, ManualClock, seeded_bytes
from nuska.testing.tokens import Tokens
from nuska.testing.websocket_client import Talk, talking
from nuska.transport.websocket.standing import Standing

SHOWN = {"X-Auth-Token": "t", "X-Project-ID": "acme"}
MEMBER = Verified(project="acme", user="ann", roles=frozenset({"member"}))
READER = replace(MEMBER, roles=frozenset({"reader"}))
DETAILED = {"detailed": True}


@pytest.fixture
def tokens() -> Tokens:
    return Tokens({"t": MEMBER, "other": replace(MEMBER, project="other")})


@pytest.fixture
def core(clock: ManualClock) -> Core:
    return build_core(store=MemoryStore(now=START, random_bytes=seeded_bytes()), clock=clock)


async def test_a_revoked_token_is_over_within_seconds(
    core: Core, clock: ManualClock, tokens: Tokens
) -> None:
    standing = Standing(core, tokens, None)
    await standing.authenticate(SHOWN)
    for _ in range(5):
        ends_at = standing.ends_at
        assert ends_at is not None
        assert ends_at <= clock.now() + 2000
        standing.look(clock.advance(seconds=2))
    del tokens.known["t"]
    with pytest.raises(NotAuthenticated):
        standing.look(clock.advance(seconds=2))


async def test_a_token_is_over_when_it_expires(
    core: Core, clock: ManualClock, tokens: Tokens
) -> None:
    tokens.known["t"] = replace(MEMBER, expires_at=Moment(START + 1500))
    standing = Standing(core, tokens, None)
    await standing.authenticate(SHOWN)
    assert standing.ends_at == START + 1500
    standing.look(clock.advance(milliseconds=1499))
    with pytest.raises(NotAuthenticated):
        standing.look(clock.advance(milliseconds=1))


async def test_a_token_that_stands_for_another_project_is_over(
    core: Core, clock: ManualClock, tokens: Tokens
) -> None:
    standing = Standing(core, tokens, None)
    await standing.authenticate(SHOWN)
    tokens.known["t"] = tokens.known["other"]
    with pytest.raises(NotAuthenticated):
        standing.look(clock.advance(seconds=2))


async def test_another_project_than_the_tokens_is_refused(core: Core, tokens: Tokens) -> None:
    standing = Standing(core, tokens, None)
    with pytest.raises(NotAuthenticated):
        await standing.authenticate({**SHOWN, "X-Project-ID": "bank"})
    assert standing.ends_at is None


# On a connection


@pytest.fixture
async def talk(serve: Any, tokens: Tokens) -> AsyncIterator[Talk]:
    served = await serve(identity=tokens)
    async with talking(served.ws) as talk:
        assert (await talk.ask("authenticate", SHOWN)).status == 200
        yield talk


async def noticed(talk: Talk, clock: ManualClock, status: int) -> None:
    """Ask until it is answered like this: the server looks now and then."""
    clock.advance(seconds=2)
    while (await talk.ask("queue_create", queue_name=f"for-{status}")).status != status:
        pass


async def test_roles_that_were_taken_away_are_gone_and_new_ones_there(
    talk: Talk, clock: ManualClock, tokens: Tokens
) -> None:
    assert (await talk.ask("queue_create", queue_name="jobs")).status == 201
    tokens.known["t"] = READER
    await noticed(talk, clock, 403)
    assert (await talk.ask("queue_list")).status == 200
    tokens.known["t"] = MEMBER
    await noticed(talk, clock, 201)


async def test_a_subscription_ends_with_the_right_to_it_and_the_client_is_told(
    talk: Talk, clock: ManualClock, tokens: Tokens
) -> None:
    made = await talk.ask("subscription_create", queue_name="jobs", options=DETAILED)
    assert made.status == 201
    tokens.known["t"] = READER
    clock.advance(seconds=2)
    assert await talk.push() == {
        "Message_Type": "SubscriptionEnded",
        "subscription_id": made.body["subscription_id"],
    }
    tokens.known["t"] = MEMBER
    await noticed(talk, clock, 201)
    again = await talk.ask("subscription_create", queue_name="jobs", options=DETAILED)
    assert again.status == 201


async def test_a_revoked_token_closes_the_connection(
    talk: Talk, clock: ManualClock, tokens: Tokens
) -> None:
    del tokens.known["t"]
    clock.advance(seconds=2)
    with pytest.raises(ConnectionClosed) as closed:
        await talk.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4003


async def test_while_nobody_can_say_who_speaks_it_is_told_nothing_and_stays(
    talk: Talk, clock: ManualClock, tokens: Tokens
) -> None:
    made = await talk.ask("subscription_create", queue_name="jobs", options=DETAILED)
    assert made.status == 201
    message = {"queue_name": "jobs", "messages": [{"body": "before"}]}
    assert (await talk.ask("message_post", **message)).status == 201
    assert (await talk.push())["body"] == "before"
    tokens.is_down = True
    clock.advance(seconds=2)
    while (refused := await talk.ask("message_post", **message)).status == 201:
        pass
    assert refused.status == 503
    assert refused.body["retry_after"] > 0
    tokens.is_down = False
    await noticed(talk, clock, 201)
    message["messages"] = [{"body": "after"}]
    assert (await talk.ask("message_post", **message)).status == 201
    while (await talk.push())["body"] != "after":
        pass


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("claim_create", {}),
        ("message_delete_many", {"pop": 1}),
        ("message_list", {}),
    ],
)
@pytest.mark.parametrize(("change", "status"), [("roles", 403), ("silence", 503)])
async def test_who_may_do_it_no_more_gets_nothing_that_he_waited_for(
    serve: Any,
    clock: ManualClock,
    tokens: Tokens,
    action: str,
    body: dict[str, Any],
    change: str,
    status: int,
) -> None:
    rules = ("claims:create", "messages:delete_all", "messages:get_all")
    access = Access(dict.fromkeys(rules, "role:member"))
    served = await serve(identity=tokens, core={"access": access})
    async with talking(served.ws) as talk:
        assert (await talk.ask("authenticate", SHOWN)).status == 200
        await talk.send(action, id="waiting", queue_name="jobs", wait=20, **body)
        while not served.core.wakeups.waiters:
            assert (await talk.ask("queue_list")).status == 200
        if change == "roles":
            tokens.known["t"] = READER
        else:
            tokens.is_down = True
        clock.advance(seconds=2)
        while (await talk.ask(action, queue_name="empty", **body)).status != status:
            pass
        await served.core.messages.post(Caller("acme", client=b"x"), "jobs", [Draft(b"1")])
        answered = await talk.reply()
        assert answered.document["request_id"] == "waiting"
        assert answered.status == status
        counted = await served.core.queues.stats(Caller("acme"), "jobs")
        assert (counted.stats.ready, counted.stats.claimed) == (1, 0)
