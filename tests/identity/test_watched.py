"""Tokens that connections last by: asked about in time, and taken for bad by a no alone."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from nuska.domain.errors import NotAuthenticated, Unavailable
from nuska.domain.moments import Moment, seconds
from nuska.identity import watching
from nuska.identity.remembered import Belief, Remembered
from nuska.identity.watching import Watched
from nuska.interfaces.identity import Verified
from nuska.testing.clock import START, ManualClock, seeded_bytes

BELIEF = Belief(
    recheck_after=seconds(60), believed_for=seconds(300), refused_for=seconds(10), max_kept=2
)
MEMBER = Verified(project="shop", user="ann", roles=frozenset({"member"}))
READER = Verified(project="shop", user="ann", roles=frozenset({"reader"}))

Answer = Callable[[], Awaitable[Verified]]


class Authority:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Verified | Exception = MEMBER

    async def __call__(self, token: str) -> Verified:
        self.asked.append(token)
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def tokens(authority: Authority, clock: ManualClock) -> Remembered:
    return Remembered(authority, clock, BELIEF, seeded_bytes())


async def watched(tokens: Remembered, token: str = "t") -> Watched:
    return tokens.watch(token, await tokens.verify(token))


async def due(
    tokens: Remembered, authority: Authority, clock: ManualClock, count: int
) -> list[Watched]:
    """Watched tokens, all of which are to be asked about again when somebody looks."""
    watches = [await watched(tokens, f"t{number}") for number in range(count)]
    clock.advance(seconds=61)
    del authority.asked[:]
    return watches


async def settled() -> None:
    """Let what runs in the background go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_said_by_now_is_taken_over_after_a_while(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    watch = await watched(tokens)
    authority.answer = READER
    clock.advance(seconds=59)
    assert watch.look() == MEMBER
    clock.advance(seconds=1)
    assert watch.look() == MEMBER, "nobody waits for the answer"
    await settled()
    assert watch.look() == READER
    assert authority.asked == ["t", "t"]


async def test_a_full_memory_ends_nothing_and_costs_no_questions(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    watches = [await watched(tokens, f"t{number}") for number in range(10)]
    assert tokens.cached("t0") is None, "the test fills the memory"
    for _ in range(20):
        clock.advance(seconds=2)
        assert [watch.look() for watch in watches] == [MEMBER] * 10
        await settled()
    assert len(authority.asked) == 10


async def test_those_who_watch_the_same_token_cost_one_question(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    watches = [await watched(tokens), *(tokens.watch("t", MEMBER) for _ in range(4))]
    clock.advance(seconds=61)
    for watch in watches:
        watch.look()
    await settled()
    assert authority.asked == ["t", "t"]


async def test_a_no_ends_it(tokens: Remembered, authority: Authority, clock: ManualClock) -> None:
    watch = await watched(tokens)
    authority.answer = NotAuthenticated(description="revoked")
    clock.advance(seconds=60)
    assert watch.look() == MEMBER
    await settled()
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            watch.look()


async def test_no_answer_is_no_no_and_after_a_while_no_yes_either(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    watch = await watched(tokens)
    authority.answer = Unavailable("down")
    for _ in range(14):
        clock.advance(seconds=20)
        assert watch.look() == MEMBER
        await settled()
    for _ in range(3):
        clock.advance(seconds=20)
        assert watch.look() is None
        await settled()
    assert len(authority.asked) < 20, "it is not asked all the time"
    authority.answer = MEMBER
    clock.advance(seconds=20)
    assert watch.look() is None
    await settled()
    assert watch.look() == MEMBER


async def test_new_keys_of_an_issuer_end_no_good_token(
    tokens: Remembered, authority: Authority
) -> None:
    good, bad = await watched(tokens, "good"), await watched(tokens, "bad")
    tokens.forget_all()
    assert good.look() == bad.look() == MEMBER
    await settled()
    assert authority.asked == ["good", "bad"] * 2
    assert good.look() == MEMBER
    authority.answer = NotAuthenticated(description="signed by a key taken back")
    tokens.forget_all()
    bad.look()
    await settled()
    with pytest.raises(NotAuthenticated):
        bad.look()


async def test_a_token_that_is_said_to_be_bad_is_believed_no_longer(
    tokens: Remembered, authority: Authority
) -> None:
    watch = await watched(tokens)
    authority.answer = NotAuthenticated(description="revoked")
    tokens.forget(lambda known: known.user == "ann")
    assert watch.look() is None
    await settled()
    with pytest.raises(NotAuthenticated):
        watch.look()


async def test_an_answer_from_before_something_was_forgotten_is_not_kept(
    tokens: Remembered, authority: Authority
) -> None:
    asking = asyncio.create_task(tokens.verify("t"))
    while not authority.asked:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0)
    tokens.forget(lambda _: True)
    assert await asking == MEMBER
    assert tokens.cached("t") is None


async def test_a_token_ends_in_time(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    authority.answer = Verified(project="shop", expires_at=Moment(START + 30_000))
    watch = await watched(tokens)
    clock.advance(milliseconds=29_999)
    assert watch.look() is not None
    clock.advance(milliseconds=1)
    with pytest.raises(NotAuthenticated):
        watch.look()


async def test_questions_in_the_background_queue_up_and_leave_room_for_who_waits(
    tokens: Remembered,
    authority: Authority,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "AT_A_TIME", 3)
    watches = await due(tokens, authority, clock, 10)
    for _ in range(3):
        for watch in watches:
            watch.look()
    asking = asyncio.create_task(tokens.verify("new"))
    await settled()
    assert authority.asked[:4] == ["t0", "t1", "t2", "new"]
    assert await asking == MEMBER
    for _ in range(10):
        await settled()
    assert sorted(authority.asked) == sorted(["new", *(f"t{number}" for number in range(10))])


async def test_questions_about_tokens_that_nobody_watches_any_more_are_not_asked(
    tokens: Remembered,
    authority: Authority,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "AT_A_TIME", 1)
    watches = await due(tokens, authority, clock, 5)
    for watch in watches:
        watch.look()
    del watch, watches[1:]
    await settled()
    assert authority.asked == ["t0"]


async def test_watched_tokens_may_be_asked_about_at_another_pace(
    authority: Authority, clock: ManualClock
) -> None:
    belief = replace(BELIEF, watched_recheck_after=seconds(10), watched_for=seconds(30))
    tokens = Remembered(authority, clock, belief, seeded_bytes())
    watch = await watched(tokens)
    authority.answer = Unavailable("down")
    clock.advance(seconds=10)
    assert watch.look() == MEMBER
    await settled()
    assert authority.asked == ["t", "t"]
    clock.advance(seconds=20)
    assert watch.look() is None
    assert tokens.cached("t") == MEMBER


async def test_what_is_closed_asks_nothing_more(
    tokens: Remembered, authority: Authority, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "AT_A_TIME", 1)
    watches = await due(tokens, authority, clock, 5)
    for watch in watches:
        watch.look()
    await tokens.close()
    await settled()
    assert len(authority.asked) <= 1


async def test_a_token_that_nobody_watches_any_more_is_forgotten(tokens: Remembered) -> None:
    watch = await watched(tokens)
    assert "secret" not in repr(tokens.watch("secret", MEMBER))
    assert len(tokens._watching) == 1
    del watch
    assert len(tokens._watching) == 0


async def test_a_project_with_control_characters_is_nobodys(
    tokens: Remembered, authority: Authority
) -> None:
    for project in ("\x1fdead\x1facme", "ac\nme", "\x7f"):
        authority.answer = Verified(project=project)
        with pytest.raises(NotAuthenticated):
            await tokens.verify(project)
        assert tokens.cached(project) is None
