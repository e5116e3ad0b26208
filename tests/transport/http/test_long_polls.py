"""Long polls: who waits is woken, times out, or goes away, and nothing is taken by nobody.

Nothing here sleeps: a poll is known to wait when it is registered with the wake-ups.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from nuska.core import Core, build_core
from nuska.core.access import Access
from nuska.core.messages import Draft
from nuska.core.sharing import SharingRules
from nuska.domain.limits import DEAD_LETTERS_PER_CLAIM
from nuska.domain.signing import Signer
from nuska.interfaces.identity import Caller, Credentials, Verified
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver, Connection, Reply
from nuska.testing.clock import ManualClock
from nuska.testing.tokens import Tokens
from nuska.transport.http import build_app

from .signed import headers_of

SIGNER = Signer("long-poll-signing-key")
HEADERS = {"Client-ID": "0f8fad5b-d9cb-469f-a165-70867728950e"}
QUEUE = "/v2/queues/jobs"
MESSAGES = f"{QUEUE}/messages"
CLAIM = ("POST", f"{QUEUE}/claims?limit=1&wait=30")
POP = ("DELETE", f"{MESSAGES}?pop=1&wait=30")
LIST = ("GET", f"{MESSAGES}?wait=30")


class Poll:
    """A request under way."""

    def __init__(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self.connection = connection
        self.task = task

    async def reply(self) -> Reply:
        await asyncio.wait_for(self.task, 5)
        return self.connection.reply


Start = Callable[..., Any]


@pytest.fixture
async def start(api: AsgiDriver, core: Core) -> AsyncIterator[Start]:
    """``await start(*CLAIM)``: a poll that waits by now."""
    polls: list[Poll] = []

    async def start(method: str, target: str, *, by: AsgiDriver = api, **options: Any) -> Poll:
        before = core.wakeups.waiters
        connection, call = by.open(method, target, **options)
        poll = Poll(connection, asyncio.ensure_future(call))
        polls.append(poll)
        await until(lambda: core.wakeups.waiters > before)
        return poll

    yield start
    for poll in polls:
        poll.task.cancel()
    await asyncio.gather(*(poll.task for poll in polls), return_exceptions=True)


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


async def settled() -> None:
    """Let everything that can go on without us go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def post(api: AsgiDriver, *bodies: object, **fields: object) -> None:
    reply = await api.post(MESSAGES, {"messages": [{"body": body, **fields} for body in bodies]})
    assert reply.status == 201


def bodies(reply: Reply) -> list[object]:
    return [message["body"] for message in reply.json()["messages"]] if reply.body else []


@pytest.mark.parametrize("poll", [CLAIM, POP, LIST], ids=["claim", "pop", "list"])
async def test_what_is_there_is_answered_at_once(
    bob: AsgiDriver, api: AsgiDriver, core: Core, poll: tuple[str, str]
) -> None:
    await post(bob, "there")
    assert bodies(await api.request(*poll)) == ["there"]
    assert core.wakeups.waiters == 0


@pytest.mark.parametrize("poll", [CLAIM, POP, LIST], ids=["claim", "pop", "list"])
async def test_a_post_wakes_who_waits(
    bob: AsgiDriver, core: Core, start: Start, poll: tuple[str, str]
) -> None:
    waiting = await start(*poll)
    await post(bob, "new")
    assert bodies(await waiting.reply()) == ["new"]
    assert core.wakeups.waiters == 0


async def test_a_waiting_claim_gets_what_stands_behind_many_dead_letters(
    bob: AsgiDriver, api: AsgiDriver
) -> None:
    rules = {"_max_claim_count": 1, "_dead_letter_queue": "dead"}
    assert (await api.put(QUEUE, rules)).status == 201
    tried = DEAD_LETTERS_PER_CLAIM + 20
    await post(bob, *["tried"] * tried)
    claims = [
        (await api.post(f"{QUEUE}/claims?limit=20", {})).headers["location"]
        for _ in range(tried // 20)
    ]
    for claim in claims:
        assert (await api.delete(claim)).status == 204
    await post(bob, "fresh")
    got = await asyncio.wait_for(api.request(*CLAIM), 5)
    assert bodies(got) == ["fresh"]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", f"{QUEUE}/claims?wait=1", 204),
        ("DELETE", f"{MESSAGES}?pop=1&wait=1", 200),
        ("GET", f"{MESSAGES}?wait=1", 200),
    ],
)
async def test_who_waits_in_vain_is_answered_in_time(
    api: AsgiDriver, core: Core, method: str, target: str, status: int
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    reply = await api.request(method, target)
    assert (reply.status, bodies(reply)) == (status, [])
    assert 0.9 < loop.time() - began < 5
    assert core.wakeups.waiters == 0


async def test_a_wait_is_cut_to_the_longest_one(make_api) -> None:
    api = make_api(max_wait=1)
    async with asyncio.timeout(5):
        assert (await api.post(f"{QUEUE}/claims?wait=86400")).status == 204


@pytest.mark.parametrize("wait", ["0", ""])
async def test_no_wait_is_no_wait(api: AsgiDriver, core: Core, wait: str) -> None:
    connection, call = api.open("POST", f"{QUEUE}/claims?wait={wait}")
    await call
    assert connection.reply.status == 204


async def test_one_message_wakes_the_taker_who_waits_longest(
    api: AsgiDriver, core: Core, start: Start
) -> None:
    first, second, third = [await start(*CLAIM) for _ in range(3)]
    await post(api, "one")
    assert bodies(await first.reply()) == ["one"]
    await settled()
    assert not second.task.done()
    await post(api, "two", "three")
    assert bodies(await second.reply()) == ["two"]
    assert bodies(await third.reply()) == ["three"]


async def test_n_messages_wake_n_takers_and_every_reader(
    bob: AsgiDriver, core: Core, start: Start
) -> None:
    takers = [await start(*CLAIM) for _ in range(4)]
    readers = [await start(*LIST) for _ in range(3)]
    await post(bob, 1, 2)
    for reader in readers:
        # What a reader sees depends on who was quicker; that it is answered does not.
        assert (await reader.reply()).status == 200
    assert [bodies(await taker.reply()) for taker in takers[:2]] == [[1], [2]]
    await settled()
    assert [taker.task.done() for taker in takers[2:]] == [False, False]


async def test_a_reader_does_not_wake_up_for_its_own_messages(
    api: AsgiDriver, bob: AsgiDriver, start: Start
) -> None:
    reader = await start(*LIST)
    await post(api, "own")
    await settled()
    assert not reader.task.done()
    await post(bob, "other")
    assert bodies(await reader.reply()) == ["other"]


async def test_a_release_wakes_who_waits(api: AsgiDriver, start: Start) -> None:
    await post(api, 1)
    location = (await api.post(f"{QUEUE}/claims")).headers["location"]
    waiting = await start(*CLAIM)
    await api.delete(location)
    assert bodies(await waiting.reply()) == [1]


async def test_a_dead_letter_wakes_who_waits_for_it(api: AsgiDriver, start: Start) -> None:
    await api.put(QUEUE, {"_max_claim_count": 0, "_dead_letter_queue": "dead"})
    await post(api, "worn out")
    waiting = await start("POST", "/v2/queues/dead/claims?wait=30")
    await api.post(f"{QUEUE}/claims")
    assert bodies(await waiting.reply()) == ["worn out"]


async def test_a_claim_that_ends_during_the_wait_is_noticed_without_a_wake_up(
    api: AsgiDriver, clock: ManualClock, start: Start
) -> None:
    await post(api, 1)
    await api.post(f"{QUEUE}/claims", {"ttl": 60})
    clock.advance(milliseconds=59_950)
    waiting = await start(*CLAIM)  # 50 ms to go, by the clock that the waiter has asked
    clock.advance(milliseconds=50)
    assert bodies(await waiting.reply()) == [1]


async def test_a_delay_that_ends_during_the_wait_is_noticed(
    api: AsgiDriver, clock: ManualClock, start: Start
) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30})
    waiting = await start(*CLAIM)
    await post(api, "late", delay=1)
    await settled()
    assert not waiting.task.done()
    clock.advance(seconds=1)
    assert bodies(await waiting.reply()) == ["late"]


async def test_waiting_in_one_project_is_not_disturbed_by_another(
    api: AsgiDriver, start: Start
) -> None:
    waiting = await start(*CLAIM)
    await post(api.with_headers(X_Project_Id="b"), "not yours")
    await settled()
    assert not waiting.task.done()


async def test_a_message_posted_between_the_look_and_the_wait_is_not_missed(
    api: AsgiDriver, store: MemoryStore, start: Start
) -> None:
    create = store.claims.create
    posted = False

    async def create_then_post(*args: Any, **options: Any) -> Any:
        nonlocal posted
        found = await create(*args, **options)
        if not posted:
            posted = True
            await post(api, "just then")
        return found

    store.claims.create = create_then_post  # type: ignore[method-assign]
    reply = await asyncio.wait_for(api.request(*CLAIM), 5)
    assert bodies(reply) == ["just then"]


# Clients that go


@pytest.mark.parametrize("poll", [CLAIM, POP, LIST], ids=["claim", "pop", "list"])
async def test_a_waiter_whose_client_hangs_up_stops_waiting_and_takes_nothing(
    api: AsgiDriver, core: Core, start: Start, poll: tuple[str, str]
) -> None:
    waiting = await start(*poll)
    waiting.connection.hang_up()
    await waiting.reply()
    assert core.wakeups.waiters == 0
    await post(api, 1)
    assert (await api.get(f"{QUEUE}/stats")).json()["messages"]["free"] == 1


async def test_a_wake_up_meant_for_a_client_that_has_gone_goes_to_the_next(
    api: AsgiDriver, start: Start
) -> None:
    first = await start(*CLAIM)
    second = await start(*CLAIM)
    first.connection.hang_up()  # not yet noticed when the post arrives
    await post(api, 1)
    assert bodies(await second.reply()) == [1]


@pytest.mark.parametrize("server", [{}, {"nuska.gone": None}], ids=["told", "found out"])
@pytest.mark.parametrize("poll", [CLAIM, POP], ids=["claim", "pop"])
async def test_what_was_taken_for_a_client_that_went_meanwhile_is_given_back(
    api: AsgiDriver,
    store: MemoryStore,
    start: Start,
    poll: tuple[str, str],
    server: dict[str, Any],
) -> None:
    waiting = await start(*poll, scope=server)
    _hang_up_after_taking(store, waiting.connection)
    await post(api, "dear")
    await waiting.reply()
    (popped,) = (await api.delete(f"{MESSAGES}?pop=1")).json()["messages"]
    assert popped["body"] == "dear"
    assert popped["claim_count"] == 0, "a claim that nobody saw does not count"


@pytest.mark.parametrize("poll", [CLAIM, POP], ids=["claim", "pop"])
async def test_what_is_given_back_wakes_the_next(
    api: AsgiDriver, store: MemoryStore, start: Start, poll: tuple[str, str]
) -> None:
    first = await start(*poll)
    second = await start(*poll)
    _hang_up_after_taking(store, first.connection)
    await post(api, "dear")
    assert bodies(await second.reply()) == ["dear"]


@pytest.mark.parametrize("poll", [CLAIM, POP], ids=["claim", "pop"])
async def test_a_server_that_knows_of_the_hang_up_first_is_believed(
    api: AsgiDriver, start: Start, poll: tuple[str, str]
) -> None:
    waiting = await start(*poll, scope={"nuska.gone": lambda: True})
    await post(api, "dear")
    await waiting.reply()
    assert (await api.get(f"{QUEUE}/stats")).json()["messages"]["free"] == 1


def _hang_up_after_taking(store: MemoryStore, connection: Connection) -> None:
    """The client goes while the store is at work for it."""
    create, pop = store.claims.create, store.messages.pop

    async def create_then_go(*args: Any, **options: Any) -> Any:
        taken = await create(*args, **options)
        connection.hang_up()
        return taken

    async def pop_then_go(*args: Any, **options: Any) -> Any:
        taken = await pop(*args, **options)
        connection.hang_up()
        return taken

    store.claims.create = create_then_go  # type: ignore[method-assign]
    store.messages.pop = pop_then_go  # type: ignore[method-assign]


# Stopping and failing


async def test_stopping_answers_everybody_with_what_there_is(core: Core, start: Start) -> None:
    polls = [await start(*poll) for poll in (CLAIM, POP, LIST)]
    core.wakeups.stop()
    assert [(await poll.reply()).status for poll in polls] == [204, 200, 200]
    assert core.wakeups.waiters == 0


async def test_nobody_waits_once_the_service_stops(api: AsgiDriver, core: Core) -> None:
    core.wakeups.stop()
    async with asyncio.timeout(5):
        assert (await api.request(*CLAIM)).status == 204


async def test_a_store_that_fails_a_waiter_leaves_no_trace_of_it(
    api: AsgiDriver, core: Core, store: MemoryStore, start: Start
) -> None:
    waiting = await start(*CLAIM)
    second = await start(*CLAIM)
    create = store.claims.create

    async def fail_once(*args: Any, **options: Any) -> Any:
        store.claims.create = create  # type: ignore[method-assign]
        raise ZeroDivisionError

    store.claims.create = fail_once  # type: ignore[method-assign]
    await post(api, 1)
    assert (await waiting.reply()).status == 500
    assert bodies(await second.reply()) == [1], "the wake-up was passed on"
    assert core.wakeups.waiters == 0


async def test_two_hundred_polls_cut_at_any_moment_lose_nothing(
    api: AsgiDriver, core: Core, start: Start
) -> None:
    # Polls come and go in every order while messages are posted; at the end every message
    # is free, or was handed to a client that got the answer.
    got: list[object] = []
    polls = [await start(*(CLAIM, POP)[n % 2]) for n in range(200)]
    for number, poll in enumerate(polls):
        if number % 2 == 0:
            await post(api, number, number + 1)
        if number % 4 == 0:
            polls[-1 - number // 2].connection.hang_up()
        if number % 5 == 0:
            await asyncio.sleep(0)
        if number % 7 == 0:
            poll.connection.hang_up()
    await settled()
    for poll in polls:
        if not poll.task.done():
            poll.connection.hang_up()
    for poll in polls:
        reply = await poll.reply()
        if poll.connection.heard:
            got += bodies(reply)
    rest: list[object] = []
    while page := bodies(await api.delete(f"{MESSAGES}?pop=20")):
        rest += page
    assert got, "some polls were answered"
    assert rest, "some messages were left"
    assert sorted(got + rest) == list(range(200))


# What was shown may be over when the wait is

MEMBER = Verified(project="acme", roles=frozenset({"member"}))
PERMISSIONS = ("claims:create", "messages:delete_all", "messages:get_all")


@pytest.fixture
def tokens() -> Tokens:
    return Tokens({"t": MEMBER})


@pytest.fixture
def closed(store: MemoryStore, clock: ManualClock) -> Core:
    access = Access(dict.fromkeys(PERMISSIONS, "role:member"))
    sharing = SharingRules(signer=SIGNER)
    return build_core(store=store, clock=clock, access=access, sharing=sharing)


@pytest.mark.parametrize("poll", [CLAIM, POP, LIST], ids=["claim", "pop", "list"])
@pytest.mark.parametrize(
    ("change", "status"), [("revoked", 401), ("fewer roles", 403), ("nobody can say", 503)]
)
async def test_who_is_nobody_any_more_gets_nothing_that_he_waited_for(
    closed: Core, tokens: Tokens, poll: tuple[str, str], change: str, status: int
) -> None:
    api = AsgiDriver(build_app(closed, tokens), {**HEADERS, "X-Auth-Token": "t"})
    connection, call = api.open(*poll)
    waiting = Poll(connection, asyncio.ensure_future(call))
    await until(lambda: closed.wakeups.waiters > 0)
    if change == "revoked":
        tokens.known.clear()
    elif change == "fewer roles":
        tokens.known["t"] = Verified(project="acme", roles=frozenset({"reader"}))
    else:
        tokens.is_down = True
    await closed.messages.post(Caller("acme", client=b"x"), "jobs", [Draft(b"1")])
    reply = await waiting.reply()
    assert reply.status == status
    assert "location" not in reply.headers
    counted = await closed.queues.stats(Caller("acme"), "jobs")
    assert (counted.stats.ready, counted.stats.claimed) == (1, 0)


class SlowTokens(Tokens):
    """Takes for ever over the second question."""

    asked = 0

    async def identify(self, credentials: Credentials) -> Verified:
        self.asked += 1
        if self.asked > 1:
            await asyncio.Event().wait()
        return await super().identify(credentials)


@pytest.mark.parametrize("poll", [CLAIM, POP], ids=["claim", "pop"])
async def test_who_is_cut_off_while_his_right_is_looked_at_again_takes_nothing_with_him(
    closed: Core, poll: tuple[str, str]
) -> None:
    tokens = SlowTokens({"t": MEMBER})
    api = AsgiDriver(build_app(closed, tokens), {**HEADERS, "X-Auth-Token": "t"})
    _, call = api.open(*poll)
    task = asyncio.ensure_future(call)
    await until(lambda: closed.wakeups.waiters > 0)
    await closed.messages.post(Caller("acme", client=b"x"), "jobs", [Draft(b"1")])
    await until(lambda: tokens.asked > 1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    counted = await closed.queues.stats(Caller("acme"), "jobs")
    assert (counted.stats.ready, counted.stats.claimed) == (1, 0)


@pytest.mark.parametrize("poll", [POP, LIST], ids=["pop", "list"])
async def test_a_signature_that_ends_during_the_wait_gets_nothing(
    closed: Core, tokens: Tokens, clock: ManualClock, poll: tuple[str, str]
) -> None:
    document = {"paths": ["messages"], "methods": ["GET", "DELETE"]}
    shown = {**HEADERS, "X-Auth-Token": "t"}
    shared = await AsgiDriver(build_app(closed, tokens), shown).post(f"{QUEUE}/share", document)
    assert shared.status == 200
    api = AsgiDriver(build_app(closed, tokens), {**HEADERS, **headers_of(shared.json())})
    connection, call = api.open(*poll)
    waiting = Poll(connection, asyncio.ensure_future(call))
    await until(lambda: closed.wakeups.waiters > 0)
    clock.advance(seconds=2 * 86_400)
    await closed.messages.post(Caller("acme", client=b"x"), "jobs", [Draft(b"1")])
    assert (await waiting.reply()).status == 404
    counted = await closed.queues.stats(Caller("acme"), "jobs")
    assert counted.stats.ready == 1
