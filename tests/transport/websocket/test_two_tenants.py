"""Two projects do anything over WebSocket while both listen, there and to event streams, with each
other's names and ids: neither ever sees, changes or counts what is the other's, is told of it, or
can tell what is the other's from what does not exist (I17)."""

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuska.core import build_core
from nuska.core.messages import Draft
from nuska.identity.none import NoAuthentication
from nuska.interfaces.identity import Caller
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver, Connection
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.sessions import Conversation
from nuska.transport.http import build_app
from nuska.transport.websocket.actions.table import ACTIONS
from nuska.transport.websocket.service import WebSocketService

CLIENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
PROJECTS = ("acme", "rival")
NAMES = ("jobs", "x.messages", "a.b")
NOBODYS = "024bb9c3800000d862c2e36b0a42f782"
SECRET = "only-of-{}"
WITHIN = 20.0
"""Seconds for what was posted to be told."""
ELSEWHERE = {name for name, action in ACTIONS.items() if action.twin is None}


def requests(name: str, id_: str, claim: str, project: str) -> list[tuple[str, dict[str, Any]]]:
    """Every kind of request, about a queue and whatever id it is given."""
    secret = SECRET.format(project)
    queue = {"queue_name": name}
    subscription = id_[:24]
    return [
        ("queue_list", {"detailed": True, "limit": 20}),
        ("queue_list", {"marker": name}),
        ("queue_create", {**queue, "metadata": {"owner": secret}}),
        ("queue_get", queue),
        ("queue_get_stats", queue),
        ("queue_delete", queue),
        ("queue_purge", queue),
        ("message_post", {**queue, "messages": [{"body": secret, "ttl": 300}]}),
        ("message_list", {**queue, "echo": True, "include_claimed": True, "limit": 20}),
        ("message_list", {**queue, "echo": True, "marker": id_}),
        ("message_get", {**queue, "message_id": id_}),
        ("message_get_many", {**queue, "message_ids": [id_, NOBODYS]}),
        ("message_delete", {**queue, "message_id": id_}),
        ("message_delete", {**queue, "message_id": id_, "claim_id": claim}),
        ("message_delete_many", {**queue, "message_ids": [id_]}),
        ("message_delete_many", {**queue, "pop": 2}),
        ("claim_create", {**queue, "ttl": 60, "grace": 60}),
        ("claim_get", {**queue, "claim_id": claim}),
        ("claim_update", {**queue, "claim_id": claim, "ttl": 60}),
        ("claim_delete", {**queue, "claim_id": claim}),
        ("subscription_create", {**queue, "subscriber": f"https://{project}.example/in"}),
        ("subscription_create", {**queue, "options": {"detailed": True}}),
        ("subscription_create", {"queue_names": list(NAMES)}),
        ("subscription_create", {"topic_name": name, "options": {"detailed": True}}),
        ("subscription_create", {**queue, "options": {"detailed": True, "since": id_}}),
        ("subscription_list", queue),
        ("subscription_get", {**queue, "subscription_id": subscription}),
        ("subscription_delete", {**queue, "subscription_id": subscription}),
    ]


KINDS = len(requests("jobs", NOBODYS, NOBODYS[:24], "acme"))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(PROJECTS),
        st.integers(0, KINDS - 1),
        st.sampled_from(NAMES),
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    max_size=40,
)


class Side:
    """One project: a connection, and a stream of each queue."""

    def __init__(self, world: "World", project: str) -> None:
        self.project = project
        self.headers = {"Client-ID": CLIENT, "X-Project-ID": project}
        self.socket = Conversation(world.service, self.headers)
        self.ids: list[str] = []
        self._core = world.core
        driver = AsgiDriver(world.app, {})
        self._streams: list[tuple[Connection, asyncio.Future[None]]] = []
        for name in NAMES:
            target = f"/v2/queues/{name}/messages/stream?project_id={project}"
            connection, call = driver.open("GET", target)
            self._streams.append((connection, asyncio.ensure_future(call)))

    async def listening(self) -> None:
        async with asyncio.timeout(WITHIN):
            for connection, _ in self._streams:
                await connection.going_on.wait()

    def told(self) -> str:
        """All that has come without being asked for."""
        streamed = b"".join(
            event.get("body", b"") for connection, _ in self._streams for event in connection.events
        )
        return json.dumps(self.socket.pushed) + streamed.decode()

    async def hears_what_it_posts(self) -> None:
        """So that all that came before has come."""
        caller = Caller(project=self.project, client=b"c" * 16)
        last = f"last-of-{self.project}"
        for name in NAMES:
            await self._core.messages.post(caller, name, [Draft(body=json.dumps(last).encode())])
        async with asyncio.timeout(WITHIN):
            for connection, _ in self._streams:
                while not any(last.encode() in e.get("body", b"") for e in connection.events):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    async def leave(self) -> None:
        self.socket.leave()
        for connection, call in self._streams:
            connection.hang_up()
            await call


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.core = build_core(
            store=MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes(1)),
            clock=self.clock,
            random_bytes=seeded_bytes(2),
        )
        identity = NoAuthentication()
        self.app = build_app(self.core, identity)
        self.service = WebSocketService(self.core, identity, random_bytes=seeded_bytes(3))
        self.sides = {project: Side(self, project) for project in PROJECTS}

    async def end(self) -> None:
        for side in self.sides.values():
            await side.leave()
        await self.core.live.stop()
        self.core.wakeups.stop()


def ids_in(value: Any) -> list[str]:
    """Ids of messages, claims and subscriptions, wherever an answer has them."""
    if isinstance(value, dict):
        return [found for inner in value.values() for found in ids_in(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in ids_in(inner)]
    if isinstance(value, str) and len(value) in (24, 32) and value.isalnum():
        return [value]
    return []


def test_every_action_is_among_the_requests() -> None:
    asked = {action for action, _ in requests("jobs", NOBODYS, NOBODYS[:24], "acme")}
    assert asked == ACTIONS.keys() - ELSEWHERE


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
async def test_neither_project_sees_changes_or_is_told_of_what_is_the_others(
    steps: list[tuple[str, int, str, int, int]],
) -> None:
    world = World()
    try:
        for side in world.sides.values():
            await side.listening()
        for project, kind, name, one, two in steps:
            await take(world, project, kind, name, one, two)
        for side in world.sides.values():
            await side.hears_what_it_posts()
        for project, other in (PROJECTS, PROJECTS[::-1]):
            told = world.sides[project].told()
            assert SECRET.format(other) not in told
            assert not [id_ for id_ in world.sides[other].ids if id_ in told]
    finally:
        await world.end()


async def take(world: World, project: str, kind: int, name: str, one: int, two: int) -> None:
    """One step, with an id of the other's in every second request."""
    side, other = world.sides[project], world.sides[PROJECTS[project == "acme"]]
    foreign, mine = other.ids or [NOBODYS], side.ids or [NOBODYS]
    ids, claims = (foreign if one % 2 else mine), (foreign if two % 2 else mine)
    id_, claim = ids[one % len(ids)].ljust(32, "0"), claims[two % len(claims)][:24]
    action, body = requests(name, id_, claim, project)[kind]
    status, answered = await side.socket.ask(action, body)
    where = f"{project}: {action} {body}"
    assert status < 500, where
    assert SECRET.format(other.project) not in json.dumps(answered), where
    shown = set(ids_in(answered)) - {id_, claim, id_[:24]}
    assert not shown & set(other.ids), where
    side.ids += [found for found in shown if found not in side.ids]
    absent = requests(name, NOBODYS, NOBODYS[:24], project)[kind]
    if one % 2 and two % 2 and body != absent[1]:
        # As in a world where there is nothing of that id: the same status.
        status_of_nothing, _ = await side.socket.ask(*absent)
        assert repeated(action, status) == repeated(action, status_of_nothing), where


def repeated(action: str, status: int) -> int:
    """What the second of two like requests is answered, where that is another thing."""
    return 409 if action == "subscription_create" and status == 201 else status
