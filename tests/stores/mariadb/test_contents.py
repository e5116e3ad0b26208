"""What is stored is what was given, byte for byte; and how it is asked for."""

import json
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Duration
from nuska.domain.positions import BEFORE_ALL
from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import START, ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.mariadb_server import MariadbServer

Open = Callable[[str], Awaitable[SqlStore]]
TTL = Duration(3_600_000)
ROUND_TRIPS = {"look": 1, "post": 1, "delete": 1, "delete several": 1, "claim": 2}
"""A claim looks which messages are the first, and then takes them."""


async def stored(store: SqlStore, body: bytes) -> bytes:
    ref = QueueRef("acme", "contents")
    await store.messages.add(ref, [NewMessage(body=body, ttl=TTL)], now=START)
    page = await store.messages.page(ref, after=BEFORE_ALL, limit=10, now=START)
    return page.messages[-1].body


@pytest.mark.parametrize(
    "text",
    [
        "\N{PILE OF POO}\N{LATIN SMALL LETTER E WITH ACUTE}",
        "%s %% \\ ' \" \\0 -- ; /* ?",
        "e\u0301",
    ],
)
async def test_a_body_is_bytes(store: SqlStore, text: str) -> None:
    body = json.dumps(text, ensure_ascii=False).encode()
    assert await stored(store, body) == body


async def test_every_byte_is_kept(store: SqlStore) -> None:
    body = bytes(range(256)) * 2
    assert await stored(store, body) == body


async def test_a_body_may_be_larger_than_many_statements(store: SqlStore) -> None:
    body = b'"' + b"\\'" * 1_500_000 + b'"'
    assert await stored(store, body) == body


async def test_names_that_differ_in_case_accents_or_spaces_alone_are_different_queues(
    store: SqlStore,
) -> None:
    names = ["a", "A", "a ", "\u00e4", "a\u0308", "ß", "ss", "\N{PILE OF POO}"]
    for name in names:
        assert await store.queues.create(QueueRef("acme", name), {"is": name}, now=START)
    listed = await store.queues.page("acme", after=None, limit=100)
    assert [queue.ref.name for queue in listed] == sorted(names)
    assert all(queue.metadata == {"is": queue.ref.name} for queue in listed)
    found = await store.queues.page("acme", after=None, limit=100, name_contains="A")
    assert [queue.ref.name for queue in found] == ["A"]


async def test_moments_have_no_zone(server: MariadbServer, open_at: Open) -> None:
    nodes = []
    for zone in ("+13:00", "-11:00"):
        await server.ask(f"SET GLOBAL time_zone = '{zone}'")
        nodes.append(await open_at(server.url()))
    first, second = [await node.time() for node in nodes]
    assert 0 <= second - first < 60_000


@pytest.mark.parametrize("operation", ROUND_TRIPS)
async def test_an_operation_takes_few_round_trips(
    operation: str, store: SqlStore, server: MariadbServer
) -> None:
    inbox = Inbox(store, ManualClock())
    for claim, wave in enumerate(("warm", "counted"), 1):
        one, two, three, _ = await inbox.post(wave, "second", "third", "fourth")
        does = {
            "look": partial(store.queues.get, inbox.ref),
            "post": partial(inbox.post, "another"),
            "delete": partial(inbox.delete, one),
            "delete several": partial(inbox.delete_many, two, three),
            "claim": partial(inbox.claim, claim, limit=1),
        }
        asked = "SELECT variable_value FROM information_schema.global_status"
        before = int(await server.ask(f"{asked} WHERE variable_name = 'QUESTIONS'"))
        assert await does[operation]() is not None
        after = int(await server.ask(f"{asked} WHERE variable_name = 'QUESTIONS'"))
    # Asking how many costs some itself: what two of these have between them without the operation.
    nothing = int(await server.ask(f"{asked} WHERE variable_name = 'QUESTIONS'")) - after
    assert after - before - nothing == ROUND_TRIPS[operation]
