"""Watching a move: what is said on the way, and how it ends."""

import pytest

from nuska.cli import carriages
from nuska.cli.carriages import watch
from nuska.cli.exits import CommandFailed, Exit
from nuska.client import Carriage


def carriage(state: str, done: int = 0, **more: object) -> Carriage:
    return Carriage(state=state, messages_done=done, messages_left=100 - done, **more)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriages, "ASKED_EVERY", 0.0)
    monkeypatch.setattr(carriages, "LINE_EVERY", 0.0)


async def watched(*states: Carriage) -> Carriage:
    rest = iter(states[1:])

    async def ask() -> Carriage:
        return next(rest)

    return await watch(states[0], ask, "The drain of pool a")


async def test_a_log_gets_lines_with_rate_and_time_left(capsys) -> None:
    running = carriage("running", 25, seconds=5.0, queues_left=2)
    done = carriage("done", 100)
    assert await watched(carriage("waiting"), running, done) == done
    assert capsys.readouterr().err == ("25 messages moved, 75 left in 2 queues; 5/s, 15 s to go.\n")


async def test_what_is_in_the_way_is_said_once(capsys) -> None:
    waits = carriage("waiting", problem="The pool b cannot be reached.")
    await watched(waits, waits, carriage("done"))
    assert capsys.readouterr().err == ("The drain of pool a waits: The pool b cannot be reached.\n")


async def test_a_failure_ends_the_command_and_says_why() -> None:
    failed = carriage("failed", problem="The pool b is gone.")
    with pytest.raises(CommandFailed) as end:
        await watched(carriage("waiting"), failed)
    assert (end.value.code, end.value.sentence) == (
        Exit.REFUSED, "The drain of pool a failed: The pool b is gone."
    )  # fmt: skip
