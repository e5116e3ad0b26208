"""What the server counts while it serves: plain numbers, read by whoever reports them."""

from bisect import bisect_left

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds in seconds; one more bucket takes the rest. Long polls fill the last ones."""


class RouteCount:
    """Answers to one method of one route."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self.seconds = 0.0


class Counters:
    """Counts of one server since its start."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], RouteCount] = {}
        self.refusals: dict[int, int] = {}
        """Answers below the API, by status."""
        self.connections = 0
        """Ever accepted."""
        self.crashes = 0
        """Handlers that ended in an exception nobody foresaw."""

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """The application tells of every request it has answered.

        ``route`` is a template, never a path, so that the number of keys stays bounded.
        """
        try:
            count = self.routes[method, route]
        except KeyError:
            count = self.routes[method, route] = RouteCount()
        count.statuses[status] = count.statuses.get(status, 0) + 1
        count.buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        count.seconds += seconds

    def refused(self, status: int) -> None:
        self.refusals[status] = self.refusals.get(status, 0) + 1
