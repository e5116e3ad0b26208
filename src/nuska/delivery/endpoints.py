"""What is told apart when slots are handed out: projects, their endpoints, and who has something
to send to one. They only hold what ``dispatch`` keeps in them.
"""

from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from nuska.delivery.breaker import Breaker


class Source(Protocol):
    """Somebody for whom something can be sent."""

    endpoint: "Endpoint"
    queued: bool
    """In a ring of its endpoint; ``Dispatch`` keeps it."""

    @property
    def is_retry(self) -> bool:
        """Goes out although the breaker is open."""
        ...

    def begin(self, *, probe: bool) -> Coroutine[Any, Any, None] | None:
        """The next delivery, marked as begun; None when there is none after all."""
        ...

    def has_more(self) -> bool:
        """Whether another delivery could begin beside those under way."""
        ...


class Project:
    __slots__ = ("__weakref__", "in_flight", "parked", "queued", "ring", "unproven", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.unproven = 0
        """Deliveries in flight to endpoints of it that are not proven."""
        self.ring: deque[Endpoint] = deque()
        self.parked: deque[Endpoint] = deque()
        """They wait for a slot of those that its unproven endpoints share."""
        self.waiting: deque[Endpoint] = deque()
        """They wait for a slot of those that unproven endpoints of all projects share."""
        self.queued = False


class Endpoint:
    """What fails together, of one project's subscribers."""

    __slots__ = (
        "__weakref__",
        "address",
        "breaker",
        "called",
        "fresh",
        "in_flight",
        "parked",
        "project",
        "proven",
        "queued",
        "retries",
        "since",
    )

    def __init__(self, project: Project, address: str) -> None:
        self.project = project
        self.address = address
        self.breaker = Breaker()
        self.proven = False
        """It has answered well lately."""
        self.in_flight = 0
        self.since: dict[int, float] = {}
        """When each delivery under way began."""
        self.fresh: deque[Source] = deque()
        self.retries: deque[Source] = deque()
        self.queued = False
        self.parked = False
        """Waits for a slot of those that unproven endpoints share."""
        self.called = False
        """One of them is kept for it."""
