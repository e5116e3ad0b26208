"""What a broker has to do here: take a job, hand it to the worker, forget it when it is done.

How sure it is of that is part of its row: a rate without it says nothing.
"""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

JOB_BYTES = 256
"""Of one job as JSON text."""
IN_FLIGHT = 128
"""Posts and deletes under way at once, with clients that can have more than one: as many as a
WebSocket of Nuska takes unless it is told otherwise."""


def job(number: int) -> dict[str, Any]:
    """A job of the size that all of them get."""
    empty = {"job": number, "text": ""}
    return {**empty, "text": "x" * (JOB_BYTES - len(json.dumps(empty)))}


class Claimed(NamedTuple):
    """A job that nobody else gets now."""

    handle: Any
    """What the broker's client deletes it by."""
    job: dict[str, Any]
    """As it was posted: who works on it needs it read."""


class Peer(Protocol):
    """One producer's and one worker's connection to a broker that has just been started."""

    name: str
    durability: str
    """What is certain when ``post`` and ``delete`` return, in words."""
    in_flight: int
    """Posts and deletes that its client has under way at once."""
    claimers: int
    """Claims that its client has under way at once."""

    def pids(self) -> list[int]:
        """The broker's processes."""

    async def post(self, number: int) -> None:
        """Returns when the broker says that it has the job."""

    async def claim(self, most: int) -> list[Claimed]:
        """Up to ``most`` jobs that nobody else gets now."""

    async def delete(self, claimed: list[Claimed]) -> None:
        """What was claimed together is done; in one request where there is one for it."""

    async def settled(self) -> None:
        """Returns when the broker has taken notice of all deletes."""


Opened = Callable[[Path], AbstractAsyncContextManager[Peer]]
"""Starts a broker with its data below a directory, for as long as the context lasts."""
