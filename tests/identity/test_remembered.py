"""What is remembered of tokens: believed for so long and no longer, asked about once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from nuska.domain.errors import NotAuthenticated, Unavailable
from nuska.domain.moments import Moment, seconds
from nuska.identity import remembered
from nuska.identity.remembered import Belief, Remembered
from nuska.interfaces.identity import Verified
from nuska.testing.clock import START, ManualClock, seeded_bytes

BELIEF = Belief(
    recheck_after=seconds(60), believed_for=seconds(300), refused_for=seconds(10), max_kept=3
)
ANN = Verified(project="shop", user="ann")


class Authority:
    """Answers as a test says, and counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Callable[[str], Awaitable[Verified]] = self.yes
        self.turn = asyncio.Event()
        self.expires_at: Moment | None = None

    async def __call__(self, token: str) -> Verified:
        self.asked.append(token)
        return await self.answer(token)

    async def yes(self, token: str) -> Verified:
        return Verified(project="shop", user=token, expires_at=self.expires_at)

    async def no(self, token: str) -> Verified:
        raise NotAuthenticated(description="revoked")

    async def down(self, token: str) -> Verified:
        raise Unavailable("down")

    async def slow(self, token: str) -> Verified:
        await self.turn.wait()
        return await self.yes(token)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def tokens(authority: Authority, clock: ManualClock) -> Remembered:
    return Remembered(authority, clock, BELIEF, seeded_bytes())


async def settled() -> None:
    """Let what runs in the background come to its end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_token_is_asked_about_once(tokens: Remembered, authority: Authority) -> None:
    assert tokens.cached("t") is None
    assert (await tokens.verify("t")).user == "t"
    found = tokens.cached("t")
    assert found is not None
    assert found.user == "t"
    assert authority.asked == ["t"]


async def test_those_who_bring_the_same_token_share_one_question(
    tokens: Remembered, authority: Authority
) -> None:
    authority.answer = authority.slow
    asking = [asyncio.create_task(tokens.verify("t")) for _ in range(50)]
    await settled()
    asking[0].cancel()
    await settled()
    authority.turn.set()
    answers = await asyncio.gather(*asking[1:])
    assert {found.user for found in answers} == {"t"}
    assert authority.asked == ["t"]


async def test_a_token_in_use_is_asked_about_again_and_nobody_waits(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    await tokens.verify("t")
    authority.answer = authority.slow
    clock.advance(seconds=61)
    assert tokens.cached("t") is not None
    assert tokens.cached("t") is not None
    await settled()
    assert authority.asked == ["t", "t"]
    authority.turn.set()
    await settled()
    clock.advance(seconds=299)
    assert tokens.cached("t") is not None


async def test_a_revoked_token_is_refused_once_that_is_known(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    await tokens.verify("t")
    authority.answer = authority.no
    clock.advance(seconds=61)
    assert tokens.cached("t") is not None
    await settled()
    assert tokens.cached("t") is None
    with pytest.raises(NotAuthenticated):
        await tokens.verify("t")


async def test_silence_is_no_yes_and_what_was_said_ends_in_time(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    await tokens.verify("t")
    authority.answer = authority.down
    clock.advance(seconds=299)
    assert tokens.cached("t") is not None
    await settled()
    assert tokens.cached("t") is not None
    clock.advance(seconds=1)
    assert tokens.cached("t") is None
    with pytest.raises(Unavailable):
        await tokens.verify("t")


async def test_who_does_not_answer_is_asked_again_after_a_pause(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    await tokens.verify("t")
    authority.answer = authority.down
    clock.advance(seconds=61)
    for _ in range(20):
        tokens.cached("t")
        await settled()
    assert len(authority.asked) == 2
    clock.advance(seconds=5)
    tokens.cached("t")
    await settled()
    assert len(authority.asked) == 3


async def test_a_token_is_not_good_beyond_its_own_end(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    authority.expires_at = Moment(START + 30_000)
    await tokens.verify("t")
    clock.advance(milliseconds=29_999)
    assert tokens.cached("t") is not None
    clock.advance(milliseconds=1)
    assert tokens.cached("t") is None
    with pytest.raises(NotAuthenticated):
        await tokens.verify("t")


async def test_a_refused_token_is_refused_without_asking_for_a_while(
    tokens: Remembered, authority: Authority, clock: ManualClock
) -> None:
    authority.answer = authority.no
    for _ in range(3):
        with pytest.raises(NotAuthenticated):
            await tokens.verify("t")
    assert authority.asked == ["t"]
    clock.advance(seconds=10)
    authority.answer = authority.yes
    assert (await tokens.verify("t")).user == "t"


async def test_guesses_crowd_out_nobody(
    tokens: Remembered, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MAX_REFUSED", 5)
    await tokens.verify("t")
    authority.answer = authority.no
    for number in range(20):
        with pytest.raises(NotAuthenticated):
            await tokens.verify(f"guess {number}")
    assert tokens.cached("t") is not None


async def test_the_token_asked_about_longest_ago_makes_room(tokens: Remembered) -> None:
    for name in ("a", "b", "c", "d"):
        await tokens.verify(name)
    assert tokens.cached("a") is None
    assert all(tokens.cached(name) is not None for name in ("b", "c", "d"))


async def test_too_many_questions_at_once_are_told_to_come_again(
    tokens: Remembered, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MAX_ASKING", 2)
    authority.answer = authority.slow
    asking = [asyncio.create_task(tokens.verify(name)) for name in ("a", "b")]
    await settled()
    with pytest.raises(Unavailable):
        await tokens.verify("c")
    authority.turn.set()
    await asyncio.gather(*asking)


async def test_a_bug_in_asking_is_no_yes(tokens: Remembered, authority: Authority) -> None:
    async def broken(token: str) -> Verified:
        raise KeyError(token)

    authority.answer = broken
    with pytest.raises(Unavailable) as caught:
        await tokens.verify("very-secret")
    assert "very-secret" not in str(caught.value)


async def test_no_token_is_kept_as_it_is(tokens: Remembered, authority: Authority) -> None:
    await tokens.verify("very-secret")
    authority.answer = authority.no
    with pytest.raises(NotAuthenticated):
        await tokens.verify("another-secret")
    kept = [*tokens._accepted, *tokens._refused]
    assert kept
    assert not any(b"secret" in key for key in kept)


async def test_what_is_forgotten_is_asked_about_again(
    tokens: Remembered, authority: Authority
) -> None:
    await tokens.verify("a")
    await tokens.verify("b")
    tokens.forget(lambda known: known.user == "a")
    assert tokens.cached("a") is None
    assert tokens.cached("b") is not None
