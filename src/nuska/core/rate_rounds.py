"""When each project's share of a rate is looked at: all of them again and again, and those that
need more now at once. What is done then is not known here.

A slow answer of the store about one project keeps one place of many, and not for long: neither
the others of a round nor those in a hurry wait for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

RENEW_EVERY = 1.0
"""Seconds between two rounds."""
AT_ONCE = 16
"""Projects that are looked at side by side in a round; and as many of those in a hurry."""

LookAt = Callable[[str], Awaitable[None]]


class Rounds:
    def __init__(self, projects: Collection[str], look_at: LookAt) -> None:
        """``projects``: as they are at any time. ``look_at`` raises nothing."""
        self._projects = projects
        self._do = look_at
        self._called = asyncio.Event()
        """There is somebody to look at."""
        self._hurried: dict[str, None] = {}
        """In the order in which they came."""
        self._stirred = asyncio.Event()
        """One of them may be looked at."""
        self._looked_at: set[str] = set()
        """Now, one way or the other: never both at a time."""

    def begin(self) -> None:
        """There is a project."""
        self._called.set()

    def hurry(self, project: str) -> None:
        """It needs more now."""
        self._hurried[project] = None
        self._stirred.set()

    async def run(self) -> None:
        """Look at them again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_again_and_again(), name="shares of rates")
            group.create_task(self._look_at_hurried(), name="shares that are too small")

    async def look(self, *, hurried_only: bool = False) -> None:
        """Once, at all projects, or at those that need more now."""
        chosen = list(self._hurried if hurried_only else self._projects)
        left = iter(chosen)

        async def look_in_turn() -> None:
            for project in left:
                await self._look_at(project)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(chosen))):
                group.create_task(look_in_turn())

    async def _look_again_and_again(self) -> None:
        while True:
            while not self._projects:
                self._called.clear()
                await self._called.wait()
            await asyncio.sleep(RENEW_EVERY)
            await self.look()

    async def _look_at_hurried(self) -> None:
        """As soon as there is a place for the next one."""
        places = asyncio.Semaphore(AT_ONCE)

        async def look_at(project: str) -> None:
            try:
                await self._look_at(project)
            finally:
                places.release()

        async with asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                group.create_task(look_at(await self._next_hurried()))

    async def _next_hurried(self) -> str:
        while True:
            for project in self._hurried:
                if project not in self._looked_at:
                    del self._hurried[project]
                    return project
            self._stirred.clear()
            await self._stirred.wait()

    async def _look_at(self, project: str) -> None:
        if project in self._looked_at:
            return
        self._hurried.pop(project, None)
        self._looked_at.add(project)
        try:
            await self._do(project)
        finally:
            self._looked_at.discard(project)
            if project in self._hurried:  # it has become so while it was looked at
                self._stirred.set()
