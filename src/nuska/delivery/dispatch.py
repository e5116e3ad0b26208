"""Which delivery begins next: nobody starves, and nobody's trouble is anybody else's.

Three bulkheads bound what is in flight: per endpoint, per project, per process. Whoever has
something to send stands in a ring of his endpoint, that in a ring of its project, that in the
ring of all projects, and each ring is gone round. What has no room leaves its ring until
something of it ends, so beginning one delivery costs the same however many wait.

An endpoint that has not answered well lately (failed, hangs, or was never tried) gets few slots,
and all such endpoints together at most half: ``unproven`` has these.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakValueDictionary

from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.endpoints import Endpoint, Project, Source
from nuska.delivery.unproven import UNPROVEN_SLOTS, UnprovenSlots
from nuska.ending import ended
from nuska.interfaces.clock import Clock

SLOW = 2.0
"""Seconds; an endpoint that lets a delivery wait longer is not taken to be well."""

logger = logging.getLogger("nuska.delivery")


class Dispatch:
    def __init__(self, bounds: DeliveryBounds, clock: Clock) -> None:
        self._bounds = bounds
        self._clock = clock
        self._endpoints: WeakValueDictionary[tuple[str, str], Endpoint] = WeakValueDictionary()
        self._projects: WeakValueDictionary[str, Project] = WeakValueDictionary()
        self._ring: deque[Project] = deque()
        self._unproven = UnprovenSlots(bounds, self._line_up)
        self._tasks: dict[asyncio.Task[None], Endpoint] = {}
        self._numbers = 0
        self._stopped = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.on_open: Callable[[Endpoint], None] = lambda _: None

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    @property
    def open_breakers(self) -> int:
        return sum(endpoint.breaker.is_open for endpoint in list(self._endpoints.values()))

    def endpoint(self, project: str, address: str) -> Endpoint:
        """The endpoint of this address, as far as this project is concerned."""
        found = self._endpoints.get((project, address))
        if found is None:
            owner = self._projects.get(project)
            if owner is None:
                owner = self._projects[project] = Project()
            found = self._endpoints[project, address] = Endpoint(owner, address)
        return found

    def offer(self, source: Source) -> None:
        """There is something to send for ``source``. ``pump`` begins it."""
        if not source.queued:
            source.queued = True
            endpoint = source.endpoint
            (endpoint.retries if source.is_retry else endpoint.fresh).append(source)
            self._line_up(endpoint)

    def withdraw(self, source: Source) -> None:
        """There is nothing to send for ``source`` after all."""
        if source.queued:
            source.queued = False
            waiting = source.endpoint.retries if source.is_retry else source.endpoint.fresh
            waiting.remove(source)

    def pump(self) -> None:
        """Begin whatever has room."""
        while self._ring and not self._stopped and len(self._tasks) < self._bounds.in_flight:
            project = self._ring.popleft()
            project.queued = False
            if self._begin_one(project):
                self._line_up_project(project)

    def well(self, endpoint: Endpoint) -> None:
        """A delivery succeeded."""
        self._set_proven(endpoint, proven=True)
        if endpoint.breaker.succeeded():
            self._line_up(endpoint)

    def unwell(self, endpoint: Endpoint, error: str, *, probe: bool) -> None:
        """A delivery failed."""
        self._set_proven(endpoint, proven=False)
        if endpoint.breaker.failed(error, self._clock.now(), probe=probe):
            self.on_open(endpoint)

    def tick(self) -> None:
        """Once in a while: look who hangs, and whom to try again."""
        slow = asyncio.get_running_loop().time() - SLOW
        for endpoint in set(self._tasks.values()):
            if endpoint.proven and min(endpoint.since.values()) < slow:
                self._set_proven(endpoint, proven=False)
        now = self._clock.now()
        for endpoint in list(self._endpoints.values()):
            if endpoint.breaker.is_open and endpoint.breaker.may_begin(now):
                self._line_up(endpoint)
        self._unproven.let_in(list(self._projects.values()))
        self.pump()

    async def settled(self) -> None:
        """Until nothing is in flight."""
        await self._idle.wait()

    async def stop(self, seconds: float) -> None:
        """Begin nothing more; wait for what is in flight, and cut off what takes longer."""
        self._stopped = True
        tasks = list(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            await ended(*late)

    def _begin_one(self, project: Project) -> bool:
        while project.ring and project.in_flight < self._bounds.in_flight_per_project:
            endpoint = project.ring.popleft()
            endpoint.queued = False
            source = self._next_source(endpoint)
            if source is None:
                continue
            probe = not source.is_retry and endpoint.breaker.is_open
            work = source.begin(probe=probe)
            if work is not None:
                self._start(work, endpoint, probe=probe)
            else:
                self._unproven.call()
            if source.has_more():
                self.offer(source)
            self._line_up(endpoint)
            if work is not None:
                return True
        return False

    def _next_source(self, endpoint: Endpoint) -> Source | None:
        """Whose turn it is, if the endpoint has room."""
        called = self._unproven.answer(endpoint)
        if self._may_begin(endpoint, called=called):
            source = (endpoint.retries or endpoint.fresh).popleft()
            source.queued = False
            return source
        if called:
            self._unproven.call()
        return None

    def _may_begin(self, endpoint: Endpoint, *, called: bool) -> bool:
        limit = self._bounds.in_flight_per_endpoint
        if not endpoint.proven:
            limit = min(limit, UNPROVEN_SLOTS)
        if endpoint.in_flight >= limit or not self._has_work(endpoint):
            return False
        return endpoint.proven or self._unproven.has_room(endpoint, called=called)

    def _has_work(self, endpoint: Endpoint) -> bool:
        if endpoint.retries:
            return True
        return bool(endpoint.fresh) and endpoint.breaker.may_begin(self._clock.now())

    def _line_up(self, endpoint: Endpoint) -> None:
        if not endpoint.queued and (endpoint.fresh or endpoint.retries):
            endpoint.queued = True
            endpoint.project.ring.append(endpoint)
        self._line_up_project(endpoint.project)

    def _line_up_project(self, project: Project) -> None:
        if project.ring and not project.queued:
            project.queued = True
            self._ring.append(project)

    def _start(self, work: Coroutine[Any, Any, None], endpoint: Endpoint, *, probe: bool) -> None:
        endpoint.breaker.probing |= probe
        self._numbers += 1
        number = self._numbers
        loop = asyncio.get_running_loop()
        endpoint.since[number] = loop.time()
        endpoint.in_flight += 1
        endpoint.project.in_flight += 1
        if not endpoint.proven:
            self._unproven.take(endpoint, 1)
        task = loop.create_task(work, name="delivery")
        self._tasks[task] = endpoint
        self._idle.clear()

        def ended(task: asyncio.Task[None]) -> None:
            del self._tasks[task], endpoint.since[number]
            endpoint.in_flight -= 1
            endpoint.project.in_flight -= 1
            if not endpoint.proven:
                self._unproven.free(endpoint)
            if probe:
                endpoint.breaker.probing = False
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("a delivery failed unexpectedly", exc_info=error)
            self._line_up(endpoint)
            self.pump()
            if not self._tasks:
                self._idle.set()

        task.add_done_callback(ended)

    def _set_proven(self, endpoint: Endpoint, *, proven: bool) -> None:
        if endpoint.proven == proven:
            return
        endpoint.proven = proven
        if not proven:
            self._unproven.take(endpoint, endpoint.in_flight)
            return
        for _ in range(endpoint.in_flight):
            self._unproven.free(endpoint)
        self._line_up(endpoint)
