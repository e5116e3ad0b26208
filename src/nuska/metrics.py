"""``GET /metrics``: what the process has counted, in Prometheus' text format.

Nothing is counted here. The parts keep plain numbers while they work; this reads them when
somebody asks, so that a request costs the same whether or not anybody ever does. The library
is imported at the first question.
"""

import os
from collections.abc import Callable, Iterator
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nuska.core import Core
from nuska.core.quotas import ANY
from nuska.delivery.engine import Engine
from nuska.domain.quotas import NAMES
from nuska.interfaces.storage import Store
from nuska.stores.pooled import PooledStore
from nuska.transport.http.proving import Judge
from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.counters import LATENCY_BUCKETS, Counters
from nuska.transport.server.server import HttpServer
from nuska.transport.server.sockets import Sockets
from nuska.upkeep.sweeper import Sweeper
from nuska.workers.board import Collector

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

PATH = "/metrics"
_STATM = Path("/proc/self/statm")
MOST_PROJECTS = 200
"""That are named in one family."""
_RESIDENT = 1
"""Which of the numbers in statm; pages."""


class Sources(Struct, frozen=True):
    """Who has counted."""

    counters: Counters
    server: HttpServer
    sweeper: Sweeper
    core: Core
    store: Store
    engine: Engine | None = None
    """None in a process that tells nobody."""
    sockets: Sockets | None = None
    """None where WebSockets are not served."""


class NuskaCollector:
    """Turns the counts of one service into Prometheus' families when asked."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield from self._requests()
        own = self._sources
        answers = CounterMetricFamily(
            "nuska_refused", "Requests refused below the API, by status.", labels=["status"]
        )
        for status, count in sorted(own.counters.refusals.items()):
            answers.add_metric([str(status)], count)
        yield answers
        for name, help_text, total in (
            ("nuska_connections_accepted", "Connections accepted.", own.counters.connections),
            ("nuska_request_crashes", "Handlers that failed unexpectedly.", own.counters.crashes),
            ("nuska_sweep_steps", "Steps of clearing away.", own.sweeper.steps),
            ("nuska_swept", "Rows cleared away.", own.sweeper.removed),
            ("nuska_sweep_failures", "Sweeps that failed.", own.sweeper.failures),
            ("nuska_live_messages", "Handed to listeners, for each.", own.core.live.passed_on),
            *self._writes(),
        ):
            yield CounterMetricFamily(name, help_text, value=total)
        for name, help_text, value in (
            ("nuska_connections", "Open connections.", own.server.open_connections),
            ("nuska_requests_running", "Requests in flight.", own.server.running_requests),
            ("nuska_waiters", "Long polls that wait now.", own.core.wakeups.waiters),
            ("nuska_live_listeners", "Streams and pushes.", own.core.live.listeners),
            ("nuska_live_queues", "Queues they listen to.", own.core.live.followed),
            ("nuska_resident_bytes", "Memory of the process.", resident_bytes()),
        ):
            yield GaugeMetricFamily(name, help_text, value=value)
        yield from self._quotas()
        yield from self._pools()
        yield from self._deliveries()
        yield from self._websockets()

    def _quotas(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        book, rates = self._sources.core.quota_book, self._sources.core.rates
        refused = CounterMetricFamily(
            "nuska_quota_refused",
            "Refused for a limit of a project; without a name, of any but those that are named.",
            labels=["limit", "project"],
        )
        for name in NAMES:
            refused.add_metric([name, ANY], book.refused[name, ANY])
        for (name, project), count in sorted(book.refused.items()):
            if project != ANY:
                refused.add_metric([name, project], count)
        yield refused
        limits = GaugeMetricFamily(
            "nuska_quota_limit",
            "What a project may have that has limits of its own; without a name, every other one.",
            labels=["limit", "project"],
        )
        for project, quota in islice(((ANY, book.defaults), *book.own.items()), MOST_PROJECTS):
            for name in NAMES:
                limit = getattr(quota, name)
                if limit is not None:
                    limits.add_metric([name, project], limit)
        yield limits
        asked = GaugeMetricFamily(
            "nuska_rate_asked",
            "Asked for in a second, by projects whose rates are limited.",
            labels=["limit", "project"],
        )
        for project, name, pace in islice(rates.asked(), MOST_PROJECTS):
            asked.add_metric([name, project], pace)
        yield asked
        yield from self._use()
        yield GaugeMetricFamily(
            "nuska_rate_projects", "Projects that call and have limited rates.", rates.projects
        )
        yield CounterMetricFamily(
            "nuska_rate_failures", "Shares of rates that could not be renewed.", rates.failures
        )

    def _use(self) -> "Iterator[Metric]":
        """How much projects store is measured for requests and for who asks, never here: it says
        how long ago that was."""
        from prometheus_client.core import GaugeMetricFamily

        used = GaugeMetricFamily(
            "nuska_quota_used",
            "What a project had of something limited, when that was measured last.",
            labels=["limit", "project"],
        )
        ages = GaugeMetricFamily(
            "nuska_quota_used_age_seconds",
            "How long ago it was measured.",
            labels=["limit", "project"],
        )
        for found in self._sources.core.usage.findings.all():
            used.add_metric([found.name, found.project], found.amount)
            ages.add_metric([found.name, found.project], found.age)
        yield used
        yield ages

    def _websockets(self) -> "Iterator[Metric]":
        """Requests are with those of HTTP: their method is ``WS``, their route the action."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        sockets = self._sources.sockets
        if sockets is None:
            return
        counted = sockets.counters
        for name, help_text, total in (
            ("nuska_websockets_accepted", "WebSocket connections ever open.", counted.connections),
            ("nuska_websockets_turned_away", "Handshakes refused.", counted.turned_away),
            ("nuska_websocket_messages", "Messages received.", counted.received),
            ("nuska_websocket_pushes", "Messages pushed, for each connection.", counted.pushed),
        ):
            yield CounterMetricFamily(name, help_text, value=total)
        closed = CounterMetricFamily(
            "nuska_websockets_closed",
            "Connections ended, by the code; 1006: without one.",
            labels=["code"],
        )
        for code, number in sorted(counted.closed.items()):
            closed.add_metric([str(code)], number)
        yield closed
        yield GaugeMetricFamily(
            "nuska_websockets", "Open WebSocket connections.", value=len(sockets.open)
        )

    def _requests(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        answers = CounterMetricFamily(
            "nuska_requests", "Answers by route.", labels=["method", "route", "status"]
        )
        durations = HistogramMetricFamily(
            "nuska_request_seconds",
            "From the end of a request's head to the end of its answer; a long poll's wait too.",
            labels=["method", "route"],
        )
        for (method, route), count in sorted(self._sources.counters.routes.items()):
            for status, number in sorted(count.statuses.items()):
                answers.add_metric([method, route, str(status)], number)
            durations.add_metric([method, route], _cumulated(count.buckets), count.seconds)
        yield answers
        yield durations

    def _deliveries(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        engine = self._sources.engine
        if engine is None:
            return
        counted = engine.counters
        outcomes = CounterMetricFamily(
            "nuska_delivery_attempts",
            "Attempts to tell subscribers; final ones are not repeated.",
            labels=["outcome"],
        )
        for outcome, number in (
            ("delivered", counted.delivered),
            ("failed", counted.failed),
            ("final", counted.exhausted),
        ):
            outcomes.add_metric([outcome], number)
        yield outcomes
        for name, help_text, total in (
            ("nuska_deliveries_missed", "Messages that were over before.", counted.missed),
            ("nuska_subscriptions_disabled", "Subscribers who were gone.", counted.disabled),
            ("nuska_delivery_stalls", "Times the store stopped deliveries.", counted.failures),
        ):
            yield CounterMetricFamily(name, help_text, value=total)
        for name, help_text, value in (
            ("nuska_deliveries_in_flight", "Under way.", engine.dispatch.in_flight),
            ("nuska_deliveries_waiting", "In memory, not under way.", engine.waiting),
            ("nuska_delivery_rows", "Repetitions in memory.", engine.retrying),
            ("nuska_queues_followed", "Queues this process tells of.", engine.followed),
            ("nuska_breakers_open", "Endpoints in trouble.", engine.dispatch.open_breakers),
            ("nuska_delivery_lag_seconds", "Of whoever is most behind.", engine.lag / 1000),
        ):
            yield GaugeMetricFamily(name, help_text, value=value)

    def _pools(self) -> "Iterator[Metric]":
        """By the pools' names, which are no secrets, and never by their URIs."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        store = self._sources.store
        if not isinstance(store, PooledStore):
            return
        up = GaugeMetricFamily(
            "nuska_pool_up",
            "Whether the pool answered when it was last swept.",
            labels=["pool"],
        )
        for name, answers in sorted(store.pools.answered.items()):
            up.add_metric([name], int(answers))
        yield up
        yield CounterMetricFamily(
            "nuska_moved_messages",
            "Messages that moves and drains have carried.",
            value=store.placement.carriages.messages_moved,
        )

    def _writes(self) -> list[tuple[str, str, int]]:
        """What the store's writer counts, if it has one that groups writes."""
        store = self._sources.store
        writer = getattr(store.own if isinstance(store, PooledStore) else store, "writer", None)
        if writer is None:
            return []
        return [
            ("nuska_store_writes", "Writes done.", writer.writes),
            ("nuska_store_commits", "Commits they took.", writer.commits),
        ]


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    names = [*(str(float(bound)) for bound in LATENCY_BUCKETS), "+Inf"]
    total = 0
    pairs: list[tuple[str, float]] = []
    for name, count in zip(names, buckets, strict=True):
        total += count
        pairs.append((name, total))
    return pairs


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        pages = int(_STATM.read_text().split()[_RESIDENT])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def build_metrics_app(
    collector: Collector,
    allowed_host: Callable[[str], bool],
    path: str = PATH,
    judge: Judge | None = None,
) -> AsgiApp:
    """An ASGI application for the one path, with the same guard as the API's (D14); ``judge``:
    who says whether the sender may see it."""
    registry: CollectorRegistry | None = None

    def answer(scope: dict[str, Any]) -> tuple[int, bytes]:
        nonlocal registry
        if scope["type"] != "http" or scope["path"] != path:
            return 404, b"Not found\n"
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if any(not allowed_host(host.decode("latin-1")) for host in hosts):
            return 403, b"This server does not answer to that name.\n"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, b"Method not allowed\n"
        from prometheus_client import CollectorRegistry, generate_latest

        if registry is None:
            registry = CollectorRegistry()
            registry.register(collector)
        return 200, generate_latest(registry)

    async def judged(judge: Judge, scope: dict[str, Any]) -> tuple[int, bytes]:
        status = await judge(dict(scope["headers"]))
        if status != HTTPStatus.OK:
            return status, b"Metrics are for operators who prove who they are.\n"
        return answer(scope)

    async def app(scope: dict[str, Any], _receive: object, send: Any) -> None:
        status, body = answer(scope) if judge is None else await judged(judge, scope)
        headers = [
            (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app
