"""Nothing near a signature is good on a WebSocket, kept or not (I20)."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nuska.core import build_core
from nuska.core.sharing import Narrowing, ShareTerms
from nuska.interfaces.identity import Caller
from nuska.stores.memory import MemoryStore
from nuska.testing import signed_vectors as vectors
from nuska.testing.callers import CLIENT, FAR, PROJECT, People
from nuska.testing.clock import seeded_bytes
from nuska.testing.near_misses import CHANGES, PARTS, Change, near
from nuska.testing.sessions import Conversation
from nuska.transport.websocket.service import WebSocketService

TERMS = ShareTerms(paths=("messages", "claims"), methods=("GET", "DELETE"), expires_at=FAR)
MAKER = Caller(PROJECT, frozenset({"member"}))


class House(People):
    """A service that signs, and a stranger's connection."""

    def __init__(self) -> None:
        super().__init__()
        self.core = build_core(
            store=MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes(1)),
            clock=self.clock,
            random_bytes=seeded_bytes(2),
            sharing=self.sharing,
        )
        service = WebSocketService(self.core, self.identity, random_bytes=seeded_bytes(3))
        self.stranger = Conversation(service, {"Client-ID": CLIENT})
        self._made: dict[str, dict[str, Any]] = {}

    async def made(self, kind: str) -> dict[str, Any]:
        if kind not in self._made:
            if kind == "share":
                signed = self.core.sharing.share(MAKER, "orders", TERMS)
            else:
                _, signed = await self.core.sharing.create(MAKER, "orders", TERMS, Narrowing())
            self._made[kind] = {
                "signature": signed.signature,
                "expires": signed.expires,
                "methods": list(signed.methods),
                "paths": list(signed.paths),
                "project": signed.project,
            }
        return self._made[kind]

    async def lists(self, shown: dict[str, Any], queue: str = "orders") -> tuple[int, Any]:
        return await self.asks("message_list", shown, queue_name=queue)

    async def asks(self, action: str, shown: dict[str, Any], **body: Any) -> tuple[int, Any]:
        headers = {
            "URL-Signature": shown["signature"],
            "URL-Expires": shown["expires"],
            "URL-Methods": shown["methods"],
            "URL-Paths": shown["paths"],
            "X-Project-ID": shown["project"],
        }
        return await self.stranger.ask(action, body, headers)


HOUSE = House()
REFUSED = (403, {"error": "Not authentified."})


async def test_the_vectors_of_the_contract_open_what_they_say() -> None:
    post = {"queue_name": "orders", "messages": [{"body": {"job": 17}}]}
    assert (await HOUSE.lists(vectors.READER))[0] == 200
    assert await HOUSE.asks("message_post", vectors.READER, **post) == REFUSED
    assert (await HOUSE.asks("message_post", vectors.WORKER, **post))[0] == 201
    popped = await HOUSE.asks("message_delete_many", vectors.WORKER, queue_name="orders", pop=1)
    assert (popped[0], len(popped[1]["messages"])) == (200, 1)
    # There is no action for claims by signature, nor for confirming (contract websocket-v2 §4).
    assert await HOUSE.asks("claim_create", vectors.WORKER, queue_name="orders") == REFUSED
    assert await HOUSE.lists(vectors.SUBSCRIBER) == REFUSED
    assert (await HOUSE.lists(vectors.OF_NO_PROJECT))[0] in (400, 403), "no project, no call"


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["share", "grant"]), st.sampled_from(PARTS), CHANGES)
async def test_nothing_that_is_near_what_was_signed_is_good(
    kind: str, part: str, change: Change
) -> None:
    good = await HOUSE.made(kind)
    almost = near(good, part, change)
    if almost is None:
        return
    assert (await HOUSE.lists(good))[0] == 200
    assert await HOUSE.lists(almost) == REFUSED


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["share", "grant"]), st.text("ordes./%-_ABC2", max_size=70))
async def test_a_queue_of_another_name_is_closed(kind: str, name: str) -> None:
    status, answered = await HOUSE.lists(await HOUSE.made(kind), name)
    if name == "orders":
        assert status == 200
    else:
        assert (status, answered) == REFUSED
