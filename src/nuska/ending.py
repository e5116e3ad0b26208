"""The end of tasks that run in the background.

On Python 3.11 ``asyncio.wait_for`` loses a cancellation that comes when what it waits for has just
been done (cpython issue 86296, mended in 3.12), and drivers of databases wait by it. A task that
lost one goes on as if nothing had been said; so it is said again. Refuses to give up: a task that
cleans up is waited for, however long that takes.
"""

import asyncio
from typing import Any

SAID_AGAIN_AFTER = 1.0
"""Seconds; cleaning up that takes longer must bear to be cancelled too."""


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks, and wait until they have ended; how they ended is not told."""
    remaining = {task for task in tasks if not task.done()}
    while remaining:
        for task in remaining:
            task.cancel()
        _, remaining = await asyncio.wait(remaining, timeout=SAID_AGAIN_AFTER)
