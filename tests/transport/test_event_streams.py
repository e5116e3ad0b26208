"""Event streams over real sockets, in the test's own loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from nuska.core import Core, build_core
from nuska.core.access import Access
from nuska.core.live import LiveBounds
from nuska.core.messages import Draft
from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment, after, seconds
from nuska.identity.none import NoAuthentication
from nuska.interfaces.identity import Caller, Identity, Verified
from nuska.stores.memory import MemoryStore
from nuska.system import SystemClock
from nuska.testing.clock import seeded_bytes
from nuska.testing.event_source import EventSource
from nuska.testing.raw_http import converse
from nuska.testing.tokens import Tokens
from nuska.transport.http import build_app
from nuska.transport.http.event_stream import EventStream

STREAM = "/v2/queues/jobs/messages/stream?project_id=acme"
CALLER = Caller(project="acme", client=b"c" * 16)

Serve = Callable[..., Awaitable[Any]]


class Service:
    """The application over the model store, served."""

    def __init__(self, serve: Serve, stack: AsyncExitStack) -> None:
        self._serve = serve
        self._stack = stack
        self.port = 0

    async def start(
        self,
        *,
        app: Any = None,
        server: Any = None,
        identity: Identity | None = None,
        access: Access | None = None,
        **live: Any,
    ) -> "Service":
        clock = SystemClock()
        store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes(1))
        self.core: Core = build_core(
            store=store,
            clock=clock,
            random_bytes=seeded_bytes(2),
            live=LiveBounds(**live),
            access=access,
        )
        application = build_app(self.core, identity or NoAuthentication(), **(app or {}))
        self.served = await self._serve(application, **(server or {}))
        self.port = self.served.port
        self._stack.push_async_callback(self.core.live.stop)
        return self

    async def post(self, *bodies: Any, attributes: bytes | None = None) -> None:
        drafts = [
            Draft(body=body if isinstance(body, bytes) else msgspec.json.encode(body))
            for body in bodies
        ]
        if attributes is not None:
            drafts = [Draft(body=draft.body, attributes=attributes) for draft in drafts]
        await self.core.messages.post(CALLER, "jobs", drafts)

    async def open(self, more: str = "", **headers: str) -> EventSource:
        source = EventSource(self.port, STREAM + more, headers=headers)
        await self._stack.enter_async_context(source)
        assert source.status == 200, source.status
        return await source.begun()

    async def nobody_listens(self) -> None:
        async with asyncio.timeout(10):
            while self.core.live.listeners:  # noqa: ASYNC110  it is only counted
                await asyncio.sleep(0.01)


@pytest.fixture
async def service(serve: Serve) -> AsyncIterator[Service]:
    """``await service.start(…)``: live bounds, ``server`` and ``app`` options."""
    async with AsyncExitStack() as stack:
        yield Service(serve, stack)


async def test_messages_come_as_they_are_posted(service: Service) -> None:
    await service.start()
    source = await service.open()
    assert source.headers["content-type"] == "text/event-stream"
    assert source.headers["cache-control"] == "no-store"
    assert source.retry is not None
    await service.post({"job": 17})
    event = await source.next()
    assert event.type == "message"
    assert event.json == {
        "id": event.json["id"],
        "queue": "jobs",
        "ttl": 3600,
        "age": 0,
        "body": {"job": 17},
    }
    assert event.id == source.last_id


async def test_a_body_with_line_breaks_is_one_line_of_data(service: Service) -> None:
    await service.start()
    source = await service.open("&attributes=true")
    await service.post(b'{\r\n "a":\n "x\\ny",\r "b": "\xe2\x80\xa8"}', attributes=b'{"k":\n1}')
    event = await source.next()
    assert event.json["body"] == {"a": "x\ny", "b": "\u2028"}
    assert event.json["attributes"] == {"k": 1}


@pytest.mark.parametrize("way", ["header", "last_event_id", "marker", "message id"])
async def test_a_client_that_comes_back_gets_the_rest(service: Service, way: str) -> None:
    await service.start()
    source = await service.open()
    await service.post("a", "b", "c")
    first = await source.next()
    source.leave()
    await service.nobody_listens()
    await service.post("d")
    if way == "header":
        # What stands in the address is older: a browser goes on using it.
        again = await service.open("&last_event_id=0", **{"Last-Event-ID": first.id})
    elif way == "message id":
        again = await service.open(f"&marker={first.json['id']}")
    else:
        again = await service.open(f"&{way}={first.id}")
    assert await again.bodies(3) == ["b", "c", "d"]


async def test_a_marker_that_is_too_old_is_answered_with_a_gap(service: Service) -> None:
    await service.start()
    source = await service.open("&marker=17")
    await service.post("a")
    gap = await source.next()
    assert gap.type == "gap"
    assert gap.json == {"queue": "jobs", "after": "17", "marker": gap.id}
    assert await source.bodies(1) == ["a"]


async def test_a_filter_lets_through_what_it_wants_and_the_marker_moves_on(
    service: Service,
) -> None:
    await service.start(stream_heartbeat=0.05)
    wanted = quote('{"body": {"kind": ["hot", "very hot"], "n": [{"numeric": [">", 1]}]}}')
    source = await service.open(f"&filter={wanted}")
    everything = await service.open()
    await service.post({"kind": "hot", "n": 1}, {"kind": "hot", "n": 2}, {"kind": "cold", "n": 3})
    assert await source.bodies(1) == [{"kind": "hot", "n": 2}]
    assert len(await everything.bodies(3)) == 3
    async with asyncio.timeout(10):
        while source.last_id != everything.last_id:
            await source._block()


async def test_a_silent_stream_gives_signs_of_life(service: Service, later: Any) -> None:
    await service.start(stream_heartbeat=0.02, server={"idle_timeout": 5.0, "head_timeout": 5.0})
    source = await service.open()
    for seen in range(0, 20, 5):
        async with asyncio.timeout(10):
            while source.comments < seen + 5:
                await source._block()
        later(6)
    await service.post("still here")
    assert await source.bodies(1) == ["still here"]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ("&marker=x", 400),
        ("&marker=1.2.3.4", 400),
        ("&last_event_id=" + "9" * 100, 400),
        ("&filter=", 200),
        ("&filter=x", 400),
        ("&filter=%5B%5D", 400),
        ("&filter=%7B%22nobody%22%3A%7B%7D%7D", 400),
        ("&filter=" + quote('{"body": {"a": [' + '"x", ' * 300 + '"x"]}}'), 400),
        ("&filter=" + quote('{"body": {"a": ["' + "x" * 9_000 + '"]}}'), 400),
        ("&attributes=perhaps", 400),
        ("&marker=%FF", 400),
        ("&unknown=1", 200),
        ("&project_id=", 200),
    ],
)
async def test_hostile_parameters_are_refused(service: Service, more: str, status: int) -> None:
    await service.start()
    async with EventSource(service.port, STREAM + more) as source:
        assert source.status == status
    await service.nobody_listens()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept": "application/json"}, 406),
        ({"Accept": "*/*"}, 200),
        ({"Accept": "text/html, */*;q=0.1"}, 200),
        ({"Accept": "x" * 5_000}, 406),
        ({"Last-Event-ID": "\xff\xfe"}, 400),
        ({"Last-Event-ID": ""}, 200),
        ({"Client-ID": "no uuid"}, 200),
        ({"X-Project-Id": ""}, 400),
        ({"X-Project-Id": "a\x7fb"}, 400),
        ({"URL-Signature": "0" * 64}, 404),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
    ],
)
async def test_headers_are_held_to_the_rules(
    service: Service, headers: dict[str, str], status: int
) -> None:
    await service.start(app={"allowed_host": lambda name: name == "127.0.0.1"})
    async with EventSource(service.port, STREAM, headers=headers) as source:
        assert source.status == status


async def test_no_project_and_other_methods_are_refused(service: Service) -> None:
    await service.start()
    path = STREAM.partition("?")[0]
    host = b" HTTP/1.1\r\nHost: localhost\r\n"
    asked = await converse("127.0.0.1", service.port, f"GET {path}".encode() + host + b"\r\n")
    assert asked.status == 400
    posted = await converse(
        "127.0.0.1", service.port, f"POST {STREAM}".encode() + host + b"Content-Length: 0\r\n\r\n"
    )
    assert posted.status == 405
    assert posted.answers[0].headers["allow"] == "GET, OPTIONS"


async def test_another_project_sees_nothing(service: Service) -> None:
    await service.start()
    other = EventSource(service.port, STREAM.replace("acme", "other"))
    async with other:
        await other.begun()
        source = await service.open()
        await service.post("ours")
        await source.bodies(1)
        await service.core.messages.post(
            Caller(project="other", client=b"c" * 16), "jobs", [Draft(body=b'"theirs"')]
        )
        assert await other.bodies(1) == ["theirs"]


async def test_a_topic_has_a_stream_apart_from_the_queue_of_its_name(service: Service) -> None:
    await service.start()
    of_queue = await service.open()
    async with EventSource(service.port, STREAM.replace("queues", "topics")) as source:
        assert source.status == 200
        await source.begun()
        await service.core.topic_messages.post(CALLER, "jobs", [Draft(body=b'"published"')])
        await service.post("posted")
        event = await source.next()
        assert event.json == {
            "id": event.json["id"],
            "topic": "jobs",
            "ttl": 3600,
            "age": 0,
            "body": "published",
        }
    assert await of_queue.bodies(1) == ["posted"]
    again = STREAM.replace("queues", "topics") + "&marker=17"
    async with EventSource(service.port, again) as source:
        assert (await source.next()).json["topic"] == "jobs"  # of the gap
        assert await source.bodies(1) == ["published"]


async def test_limits_of_listeners_are_503_with_a_retry(service: Service) -> None:
    await service.start(max_streams_per_address=2)
    first = await service.open()
    await service.open()
    async with EventSource(service.port, STREAM) as third:
        assert third.status == 503
        assert "retry-after" in third.headers
    first.leave()
    async with asyncio.timeout(10):
        while service.core.live.listeners > 1:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    await service.open()


async def test_a_connection_that_goes_takes_its_listening_along(service: Service) -> None:
    await service.start()
    sources = [await service.open() for _ in range(20)]
    assert service.core.live.listeners == 20
    for source in sources:
        source.leave()
    await service.nobody_listens()
    await service.served.server.stop()
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "a stream's client"]


async def test_who_reads_nothing_is_held_then_dropped_and_nobody_else_notices(
    service: Service, later: Any
) -> None:
    await service.start(stream_unsent=65_536, server={"send_timeout": 5.0})
    slow = await service.open()
    slow.read_nothing()
    quick = await service.open()
    large = "x" * 200_000
    for number in range(80):
        await service.post(f"{number}{large}")
        assert (await quick.bodies(1))[0].startswith(str(number))
    later(6)
    async with asyncio.timeout(20):
        while service.core.live.listeners > 1:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    again = await service.open(f"&last_event_id={slow.last_id}")
    bodies = await again.bodies(80)
    assert [body.partition("x")[0] for body in bodies] == [str(n) for n in range(80)]


async def test_a_stop_ends_streams_and_tells_when_to_come_back(service: Service) -> None:
    await service.start()
    sources = [await service.open() for _ in range(8)]
    first = [source.retry for source in sources]
    await service.core.live.stop()
    for source in sources:
        [notice] = await source.rest()
        assert notice.type == "notice"
        assert notice.json["reason"] == "stopping"
    later = [source.retry for source in sources]
    assert len(set(first)) > 1
    assert len(set(later)) > 1


async def begun(
    service: Service, still_good: Callable[[], Awaitable[bool]], heartbeat: float
) -> EventStream:
    """A stream without a socket; what was shown for it is good as long as ``still_good`` says."""

    async def never() -> None:
        await asyncio.Event().wait()

    queue = QueueRef("acme", "jobs")
    stream = EventStream(
        queue,
        service.core.clock,
        seeded_bytes(3),
        attributes=False,
        most=1_000_000,
        heartbeat=heartbeat,
        until_gone=never,
        still_good=still_good,
    )
    stream.begin(await service.core.live.listen("acme", (queue,), stream))
    return stream


async def test_an_idle_stream_ends_when_what_was_shown_is_good_no_longer(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.start()
    # However long the machine stands still, the stream is never so busy that it asks in between.
    monkeypatch.setattr(EventStream, "_loop_time", staticmethod(lambda: 0.0))
    good = [True, True, False]

    async def still_good() -> bool:
        return good.pop(0)

    stream = await begun(service, still_good, heartbeat=0.01)
    pieces = [piece async for piece in stream]
    await stream.close()
    assert pieces[1:-1] == [b":\n\n", b":\n\n"]
    assert b'"reason":"expired"' in pieces[-1].replace(b" ", b"")
    assert service.core.live.listeners == 0


async def test_a_busy_stream_ends_too_when_what_was_shown_is_good_no_longer(
    service: Service,
) -> None:
    await service.start()
    good = True

    async def still_good() -> bool:
        return good

    stream = await begun(service, still_good, heartbeat=0.05)
    caller = Caller("acme", client=b"c")
    pieces = []
    async with asyncio.timeout(10):
        async for piece in stream:
            pieces.append(piece)
            good = len(pieces) < 5
            await service.core.messages.post(caller, "jobs", [Draft(b"1")])
            await asyncio.sleep(0.01)
    await stream.close()
    assert len(pieces) > 5
    assert b'"reason":"expired"' in pieces[-1].replace(b" ", b"")


MEMBER = Verified(project="acme", roles=frozenset({"member"}))
LISTENING = {"Client-ID": "0f8fad5b-d9cb-469f-a165-70867728950e", "X-Auth-Token": "t"}


async def watched(service: Service, tokens: Tokens) -> EventSource:
    access = Access({"messages:get_all": "role:member"})
    await service.start(identity=tokens, access=access, stream_heartbeat=0.05)
    return await service.open(**LISTENING)


@pytest.mark.parametrize("change", ["revoked", "fewer roles", "another project"])
async def test_a_stream_ends_when_its_token_is_good_for_it_no_longer(
    service: Service, change: str
) -> None:
    tokens = Tokens({"t": MEMBER})
    source = await watched(service, tokens)
    await service.post("before")
    assert (await source.next()).json["body"] == "before"
    if change == "revoked":
        tokens.known.clear()
    elif change == "fewer roles":
        tokens.known["t"] = Verified(project="acme", roles=frozenset({"reader"}))
    else:
        tokens.known["t"] = Verified(project="other", roles=MEMBER.roles)
    notice = (await source.rest())[-1]
    assert (notice.type, notice.json["reason"]) == ("notice", "expired")
    await service.nobody_listens()


async def test_a_stream_is_told_nothing_while_nobody_can_say_whose_it_is_and_loses_nothing(
    service: Service,
) -> None:
    tokens = Tokens({"t": MEMBER})
    source = await watched(service, tokens)
    tokens.is_down = True
    before = source.comments
    async with asyncio.timeout(10):
        while source.comments < before + 5:
            await source._block()
        await service.post("meanwhile")
        while source.comments < before + 10:
            assert not (await source._block()), "signs of life and nothing else"
    tokens.is_down = False
    assert (await source.next()).json["body"] == "meanwhile"


async def test_a_stream_waits_while_nobody_knows_whether_its_token_has_expired(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = after(SystemClock().now(), seconds(3600))
    tokens = Tokens({"t": Verified(project="acme", roles=MEMBER.roles, expires_at=ends)})
    source = await watched(service, tokens)

    def nobody_knows() -> Moment:
        raise Unavailable("The time of the store is not known at the moment.")

    with monkeypatch.context() as patch:
        patch.setattr(service.core.clock, "now", nobody_knows)
        await asyncio.sleep(0.3)
    await service.post("later")
    assert (await source.next()).json["body"] == "later"
