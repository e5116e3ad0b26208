"""The slots for endpoints that have not answered well lately: failed, hang, or were never tried.

All of them together get at most half of what their project and the process have: the other half
is always there for those that work. Who finds none waits, and is called when one is free: one
endpoint of each project in turn, so that thousands of one project hold up nobody else's. A slot
is kept for whoever is called, and nobody who comes later is let in before him.
"""

from collections import deque
from collections.abc import Callable, Iterable

from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.endpoints import Endpoint, Project

UNPROVEN_SLOTS = 3
"""Of one such endpoint."""


class UnprovenSlots:
    def __init__(self, bounds: DeliveryBounds, line_up: Callable[[Endpoint], None]) -> None:
        """``line_up``: has an endpoint looked at again."""
        self._of_all = bounds.in_flight // 2
        self._of_a_project = max(1, bounds.in_flight_per_project // 2)
        self._line_up = line_up
        self._taken = 0
        self._called = 0
        """Slots that are kept for endpoints that were called."""
        self._waiting: deque[Project] = deque()
        """Those of which endpoints wait, in turn."""

    def has_room(self, endpoint: Endpoint, *, called: bool) -> bool:
        """Whether a delivery may begin; if not, the endpoint waits. ``called``: a slot was kept
        for it."""
        project = endpoint.project
        if self._room_in(project) <= 0:
            self._park(endpoint, project.parked)
        elif not called and (self._waiting or not self._is_free):
            if not (endpoint.parked or project.waiting):
                self._waiting.append(project)
            self._park(endpoint, project.waiting)
        else:
            return True
        return False

    def take(self, endpoint: Endpoint, count: int) -> None:
        self._taken += count
        endpoint.project.unproven += count

    def free(self, endpoint: Endpoint) -> None:
        """A slot that the endpoint has taken is free."""
        self.take(endpoint, -1)
        self._unpark(endpoint.project, 1)
        self.call()

    def call(self) -> None:
        """Let those in who wait, as far as there are slots."""
        while self._waiting and self._is_free:
            project = self._waiting.popleft()
            endpoint = project.waiting.popleft()
            if project.waiting:
                self._waiting.append(project)
            endpoint.parked = False
            if endpoint.fresh or endpoint.retries:
                endpoint.called = True
                self._called += 1
                self._line_up(endpoint)

    def answer(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint was called; from now on no slot is kept for it."""
        called, endpoint.called = endpoint.called, False
        self._called -= called
        return called

    def let_in(self, projects: Iterable[Project]) -> None:
        """Once in a while: whoever was let in before had nothing to begin, perhaps."""
        for project in projects:
            self._unpark(project, self._room_in(project))
        self.call()

    @property
    def _is_free(self) -> bool:
        return self._taken + self._called < self._of_all

    def _room_in(self, project: Project) -> int:
        return self._of_a_project - project.unproven

    def _park(self, endpoint: Endpoint, place: deque[Endpoint]) -> None:
        if not endpoint.parked:
            endpoint.parked = True
            place.append(endpoint)

    def _unpark(self, project: Project, count: int) -> None:
        for _ in range(min(count, len(project.parked))):
            endpoint = project.parked.popleft()
            endpoint.parked = False
            self._line_up(endpoint)
