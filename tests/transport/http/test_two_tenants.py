"""Two projects do anything, with each other's names and ids: neither ever sees, changes or counts
what is the other's, and what is the other's answers as what does not exist (I17)."""

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuska.core import Core, build_core
from nuska.core.sharing import SharingRules
from nuska.domain.signing import Signer
from nuska.identity.none import NoAuthentication
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.transport.http import build_app
from nuska.transport.http.app import all_routes

from .tenants import ALICE, NOBODYS, SECRET, ask, requests, shape

NAMES = ("jobs", "x.messages", "a.b", "a-b")


class World:
    """A service, and a second one in which nobody but ``acme`` ever was."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        core, self.shared = self._service()
        _, self.alone = self._service()
        self.routes = all_routes(core)
        self.ids: dict[str, list[str]] = {"acme": [], "rival": []}

    def _service(self) -> tuple[Core, Any]:
        core = build_core(
            store=MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes(1)),
            clock=self.clock,
            random_bytes=seeded_bytes(2),
            sharing=SharingRules(signer=Signer("nuska-demo-secret")),
        )
        return core, build_app(core, NoAuthentication())

    def of(self, project: str, app: Any = None) -> AsgiDriver:
        headers = {"Client-ID": ALICE, "X-Project-Id": project, "X-Roles": "admin"}
        return AsgiDriver(self.shared if app is None else app, headers)


KINDS = len(requests("jobs", NOBODYS, NOBODYS[:24], "acme"))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["acme", "rival"]),
        st.integers(0, KINDS - 1),
        st.sampled_from(NAMES),
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    max_size=40,
)


STREAMS = {"streamMessages", "streamMessagesOfTopic"}
"""What does not end is tried beside WebSockets."""


def test_every_route_about_a_project_is_among_the_requests() -> None:
    asked = [
        (method, target.partition("?")[0])
        for method, target, _ in requests("jobs", NOBODYS, NOBODYS[:24], "acme")
    ]
    missing = [
        operation.name
        for route in World().routes
        for operation in route.operations
        if operation.action is not None
        and operation.name not in STREAMS
        and not any(
            method == operation.method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", route.path), path)
            for method, path in asked
        )
    ]
    assert missing == []


def ids_in(value: Any) -> list[str]:
    """Ids of messages, claims, subscriptions and kept URLs, wherever an answer has them."""
    if isinstance(value, dict):
        return [found for inner in value.values() for found in ids_in(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in ids_in(inner)]
    if isinstance(value, str):
        last = value.rpartition("/")[2].rpartition("=")[2]
        return [last] if len(last) in (16, 24, 32) and last.isalnum() else []
    return []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
async def test_neither_project_reads_changes_or_counts_what_is_the_others(
    steps: list[tuple[str, int, str, int, int]],
) -> None:
    world = World()
    for project, kind, name, one, two in steps:
        other = "rival" if project == "acme" else "acme"
        foreign = world.ids[other] or [NOBODYS]
        mine = world.ids[project] or [NOBODYS]
        # An id of the other's in every second request.
        id_ = (foreign if one % 2 else mine)[one % len(foreign if one % 2 else mine)]
        claim = (foreign if two % 2 else mine)[two % len(foreign if two % 2 else mine)][:24]
        method, target, body = requests(name, id_.ljust(32, "0"), claim, project)[kind]
        reply = await ask(world.of(project), method, target, body)
        where = f"{project}: {method} {target}"
        assert reply.status < 500, where
        assert SECRET.format(other).encode() not in reply.body, where
        if reply.body and reply.headers["content-type"] == "application/json":
            shown = set(ids_in(reply.json())) - {id_, claim}
            assert not shown & set(world.ids[other]), where
            world.ids[project] += [found for found in shown if found not in world.ids[project]]
        if one % 2 and two % 2:
            # As in a world where there is nothing of that id: the same status, and shape.
            absent = requests(name, NOBODYS, NOBODYS[:24], project)[kind]
            if id_ in target or claim in target:
                same = await ask(world.of(project), *absent)
                assert same.status == reply.status, where


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
async def test_what_one_project_sees_is_the_same_whatever_the_other_does(
    steps: list[tuple[str, int, str, int, int]],
) -> None:
    world = World()
    for project, kind, name, _, _ in steps:
        method, target, body = requests(name, NOBODYS, NOBODYS[:24], project)[kind]
        there = await ask(world.of(project), method, target, body)
        if project == "acme":
            here = await ask(world.of(project, world.alone), method, target, body)
            where = f"{method} {target}"
            assert here.status == there.status, where
            if method == "GET" and here.body:
                assert shape(here.json()) == shape(there.json()), where
