"""Subscribers of an encrypted queue get what was posted; whatever is kept on the way is sealed."""

from base64 import b64encode
from collections.abc import AsyncIterator

import pytest

from nuska.core import Core, build_core
from nuska.core.messages import Draft
from nuska.core.terms import Terms
from nuska.core.vault import KeyVault
from nuska.delivery.engine import Engine
from nuska.delivery.senders.queue import QueueSender
from nuska.domain.internal import internal
from nuska.domain.messages import QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.sealed import MARK, is_sealed
from nuska.domain.sealing import OperatorKeys
from nuska.interfaces.identity import Caller
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.delivering import OK, REFUSED, DeliveryBench
from nuska.testing.live import Ear

WHO = "http://a.example/"
ANN = Caller(project="acme", client=b"ann")
JOBS = QueueRef("acme", "jobs")
KEY = b64encode(bytes(range(32))).decode()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(now=ManualClock().now(), random_bytes=seeded_bytes())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def core(store: MemoryStore, clock: ManualClock) -> Core:
    operator = OperatorKeys([KEY])
    vault = KeyVault(store.records, operator, clock, seeded_bytes(3), key_life=seconds(86_400))
    core = build_core(store=store, clock=clock, random_bytes=seeded_bytes(5), vault=vault)
    await core.queues.create(ANN, "jobs", {"_enable_encrypt_messages": True})
    return core


@pytest.fixture
async def bench(store: MemoryStore, clock: ManualClock, core: Core) -> AsyncIterator[DeliveryBench]:
    bench = DeliveryBench(store, clock, core.bodies)
    core.followings.add(bench.engine)
    yield bench
    await bench.engine.stop()


async def post(bench: DeliveryBench, core: Core, *bodies: str, ttl: int = 3600) -> None:
    await core.messages.post(ANN, "jobs", [Draft(f'"{body}"'.encode(), ttl=ttl) for body in bodies])
    bench.engine.overhear(JOBS, len(bodies))


async def kept(bench: DeliveryBench, queue: QueueRef) -> list[bytes]:
    page = await bench.store.messages.page(
        queue, after=BEFORE_ALL, limit=100, include_delayed=True, include_claimed=True,
        now=bench.clock.now(),
    )  # fmt: skip
    return [message.body for message in page.messages]


async def test_a_subscriber_gets_the_body_as_posted(bench: DeliveryBench, core: Core) -> None:
    await bench.subscribe(WHO)
    await post(bench, core, "hello")
    await bench.engine.settled()
    assert bench.sender.bodies() == ["hello"]


async def test_a_filter_looks_at_the_body_as_posted(bench: DeliveryBench, core: Core) -> None:
    await bench.subscribe(WHO, {"filter": {"body": {"kind": ["c"]}}})
    await core.messages.post(ANN, "jobs", [Draft(b'{"kind": "a"}'), Draft(b'{"kind": "b"}')])
    bench.engine.overhear(JOBS, 2)
    await bench.engine.settled()
    assert bench.sender.bodies() == []
    await bench.subscribe("http://b.example/", {"filter": {"body": {"kind": ["b"]}}})
    await core.messages.post(ANN, "jobs", [Draft(b'{"kind": "a"}'), Draft(b'{"kind": "b"}')])
    bench.engine.overhear(JOBS, 2)
    await bench.engine.settled()
    assert bench.sender.bodies("http://b.example/") == ['{"kind": "b"}']


async def test_what_waits_for_another_attempt_is_sealed_and_arrives_open(
    bench: DeliveryBench, core: Core
) -> None:
    bench.sender.answers[WHO] = REFUSED
    await bench.subscribe(WHO)
    await post(bench, core, "patience")
    await bench.pass_time(2)
    rows = await kept(bench, internal("retries", JOBS))
    assert rows
    assert not any(b"patience" in row for row in rows)
    bench.sender.answers[WHO] = OK
    await bench.engine.stop()
    core.followings.add(bench.new_engine())
    await bench.pass_time(700)
    assert bench.sender.bodies()[-1] == "patience"


async def test_a_dead_letter_is_kept_sealed_and_shown_open(
    bench: DeliveryBench, core: Core
) -> None:
    bench.sender.answers[WHO] = REFUSED
    await bench.subscribe(WHO, {"_retry_policy": {"retries_with_no_delay": 1}})
    await post(bench, core, "lost")
    await bench.pass_time(900)
    letters = await kept(bench, internal("dead", JOBS))
    assert letters
    assert not any(b"lost" in letter for letter in letters)
    page = await core.redriving.page(ANN, "jobs")
    assert [bytes(dead.letter.body) for dead in page.letters] == [b'"lost"']


@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_copy_in_another_queue_is_sealed_and_opens_for_its_readers(
    bench: DeliveryBench, core: Core, encrypted: bool
) -> None:
    terms = Terms(bench.store.queues, core.limits)
    sender = QueueSender(
        bench.store.messages, terms, core.announcing, bench.clock, core.bodies, core.usage, total=5
    )
    bench.engine = Engine(
        bench.store, bench.clock, seeded_bytes(9), {"queue": sender},
        may_be_told=lambda _: True, bodies=core.bodies,
    )  # fmt: skip
    source = "jobs" if not encrypted else "plain"
    await core.queues.create(ANN, "copies", {"_enable_encrypt_messages": encrypted})
    await bench.subscribe("queue:copies", queue=QueueRef("acme", source))
    await core.messages.post(ANN, source, [Draft(b'"again"')])
    bench.engine.overhear(QueueRef("acme", source), 1)
    await bench.engine.settled()
    assert all(is_sealed(body) for body in await kept(bench, QueueRef("acme", "copies")))
    listing = await core.messages.page(ANN, "copies", echo=True)
    assert [message.body for message in listing.messages] == [b'"again"']


async def test_a_live_listener_gets_the_body_as_posted(bench: DeliveryBench, core: Core) -> None:
    ear = Ear()
    listening = await core.live.listen("acme", (JOBS,), ear)
    listening.go_on()
    await core.messages.post(ANN, "jobs", [Draft(b'"live"')])
    assert await ear.until(1) == ["live"]
    await core.live.stop()


async def test_nobody_is_told_of_what_was_erased(bench: DeliveryBench, core: Core) -> None:
    bench.sender.answers[WHO] = REFUSED
    await bench.subscribe(WHO)
    await post(bench, core, "secret")
    await bench.pass_time(1)
    admin = Caller(project="acme", roles=frozenset({"admin"}))
    assert await core.encryption.erase(admin) == 1
    bench.sender.answers[WHO] = OK
    told = len(bench.sender.sent)
    await bench.pass_time(700)
    assert len(bench.sender.sent) == told


async def test_a_body_that_looks_sealed_reaches_subscribers_as_it_was_posted(
    bench: DeliveryBench, core: Core
) -> None:
    await core.messages.post(ANN, "jobs", [Draft(b'"secret of another"')])
    (sealed,) = await kept(bench, JOBS)
    await bench.subscribe(WHO)
    await core.messages.post(ANN, "jobs", [Draft(sealed), Draft(MARK + b'AAAA"')])
    bench.engine.overhear(JOBS, 2)
    await bench.engine.settled()
    assert bench.sender.bodies() == [sealed.decode().strip('"'), (MARK + b"AAAA").decode()[1:]]
