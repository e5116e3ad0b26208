"""A limit of time that holds also where a library loses a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")

ASKED_AGAIN = 0.1
"""Seconds after which work that goes on although it was cancelled is cancelled again."""


async def within(seconds: float, work: Coroutine[Any, Any, _Result]) -> _Result:
    """What ``work`` returns or raises; ``TimeoutError`` when it takes longer.

    ``asyncio.timeout`` cancels once, and before Python 3.12 ``asyncio.wait_for`` forgets that
    when what it waits for ends in the same moment.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=ASKED_AGAIN)
        if not task.cancelled():
            task.exception()  # it has been seen
