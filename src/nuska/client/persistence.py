"""Carries out what ``retries`` decides: one call, sent as often as its nature and its deadline
allow, by whatever way requests go. The one place of the client that waits between attempts.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from nuska.client.errors import ClientError, ConnectionBroken, DeadlinePassed, ErrorAnswer
from nuska.client.retries import NOTHING_HAPPENED, Repeat, RetryPolicy, may_repeat

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timing:
    """Time and chance, as the client sees them; tests pass their own."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    dice: random.Random = field(default_factory=random.Random)


async def persist(
    once: Callable[[float], Awaitable[T]],
    *,
    seconds: float,
    retry: RetryPolicy,
    repeat: Repeat,
    timing: Timing,
) -> T:
    """The result of ``once``, which is told how many of the ``seconds`` are left."""
    clock = timing.clock
    deadline = clock() + seconds
    doubt: ClientError | None = None
    attempt = 1
    while True:
        try:
            return await once(deadline - clock())
        except ClientError as error:
            pause = _pause(error, attempt, retry, repeat, timing)
            if pause is None or clock() + pause >= deadline:
                raise _worst(doubt, error) from error.__cause__
            doubt = error if _in_doubt(error) else doubt
        await timing.sleep(pause)
        attempt += 1


def _pause(
    error: ClientError, attempt: int, retry: RetryPolicy, repeat: Repeat, timing: Timing
) -> float | None:
    """Seconds until the next attempt, or None when there is none."""
    if attempt >= retry.attempts or not may_repeat(error, repeat):
        return None
    retry_after = error.retry_after if isinstance(error, ErrorAnswer) else None
    return retry.pause(attempt, retry_after=retry_after, dice=timing.dice)


def _in_doubt(error: ClientError) -> bool:
    """Whether the request that ended in ``error`` may have been carried out."""
    match error:
        case ErrorAnswer(status=status):
            return status >= 500 and status not in NOTHING_HAPPENED
        case _:
            return isinstance(error, ConnectionBroken | DeadlinePassed)


def _worst(doubt: ClientError | None, last: ClientError) -> ClientError:
    """What to tell the caller: a certain failure after an uncertain one is uncertain."""
    return last if doubt is None or _in_doubt(last) or _is_final(last) else doubt


def _is_final(error: ClientError) -> bool:
    """Whether the server itself has decided the request."""
    return isinstance(error, ErrorAnswer) and error.status not in NOTHING_HAPPENED
