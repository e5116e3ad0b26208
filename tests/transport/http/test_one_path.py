"""What is another project's takes the same way through the service as what does not exist: not
the answer alone is the same, but what is done to find it, so that nobody learns by a clock what
is there (I17).

Time itself is too noisy to compare. Compared are the functions of the service that a request goes
through, one after the other, on the model store; and on SQLite the statements with the steps that
its machine makes for each.
"""

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import apsw
import pytest

import nuska
from nuska.core import build_core
from nuska.core.key_records import KeyRecords
from nuska.core.sharing import SharingRules
from nuska.domain.keys import Key
from nuska.domain.signing import Signer
from nuska.drivers import open_store
from nuska.identity.none import NoAuthentication
from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver, Reply
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.transport.http import build_app

from .tenants import ALICE, ask, requests

HERE = str(Path(nuska.__file__).parent)
MODEL = str(Path(HERE, "stores"))
"""The model store looks at everything for every answer, and may; SQLite is looked at apart."""
BYSTANDERS = ("aaa", "zzz")
"""Projects that are there whatever else is: an index has something before and after."""
NAME = "jobs"
ABOUT_CONNECTIONS = ("pragma", "begin", "commit", "savepoint", "release")
"""Statements that say nothing of data, and come as connections and transactions do."""
KINDS = ("message", "claim", "subscription", "grant", "key")
FILL = 32
"""Characters of the longest id."""

Way = list[Any]
"""What a request went through."""


class World:
    """A service with a store of its own, in which projects can settle."""

    def __init__(self, store: Store, clock: ManualClock, seed: int) -> None:
        core = build_core(
            store=store,
            clock=clock,
            random_bytes=seeded_bytes(seed),
            sharing=SharingRules(signer=Signer("nuska-demo-secret")),
        )
        self._app = build_app(core, NoAuthentication())

    def of(self, project: str) -> AsgiDriver:
        headers = {"Client-ID": ALICE, "X-Project-Id": project, "X-Roles": "admin"}
        return AsgiDriver(self._app, headers)

    async def settle(self, project: str) -> dict[str, str]:
        """One of everything, under names that the other projects have, too; their ids."""
        driver, place = self.of(project), f"/v2/queues/{NAME}"

        async def made(method: str, target: str, body: Any) -> Any:
            reply = await driver.request(method, target, body)
            assert reply.status < 300, (target, reply)
            return reply.json() if reply.body else None

        posts = {"messages": [{"body": number, "ttl": 300} for number in range(3)]}
        for noun in ("queues", "topics"):
            await made("PUT", f"/v2/{noun}/{NAME}", {"owner": project})
            await made("POST", f"/v2/{noun}/{NAME}/messages", posts)
        taken = await made("POST", f"{place}/claims?limit=1", {"ttl": 60, "grace": 60})
        ids = (await made("POST", f"{place}/messages", posts))["resources"]
        hook = {"subscriber": f"https://{project}.example/in"}
        grant = {"methods": ["GET"], "paths": ["messages"]}
        return {
            "message": ids[0].rpartition("/")[2],
            "claim": taken["messages"][0]["href"].rpartition("claim_id=")[2],
            "subscription": (await made("POST", f"{place}/subscriptions", hook))["subscription_id"],
            "grant": (await made("POST", f"{place}/grants", grant))["id"],
            "key": (await made("POST", "/v2/keys", {"name": "k"}))["id"],
        }


@contextmanager
def functions_entered() -> Iterator[Way]:
    """Of the service, in this thread."""
    way: Way = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(HERE) and not file.startswith(MODEL):
            way.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield way
    finally:
        sys.setprofile(before)


class Statements:
    """What SQLite carries out on every connection that is opened while this is in use."""

    def __init__(self) -> None:
        self._done: Way = []

    def watch(self, connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._note)

    def _note(self, event: dict[str, Any]) -> None:
        sql: str = event["sql"]
        if not sql.lower().startswith(ABOUT_CONNECTIONS):
            self._done.append((sql, event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]))

    @contextmanager
    def carried_out(self) -> Iterator[Way]:
        del self._done[:]
        way: Way = []
        yield way
        way += sorted(self._done)  # two threads read


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def told(reply: Reply) -> object:
    """As much of an answer as may not differ."""
    is_json = reply.body and reply.headers["content-type"] == "application/json"
    body = outline(reply.json()) if is_json else len(reply.body)
    return reply.status, sorted(reply.headers), body


def outline(value: Any) -> Any:
    """Of text its length: ids are by chance."""
    if isinstance(value, dict):
        return {key: outline(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [outline(inner) for inner in value]
    return len(value) if isinstance(value, str) else value


def about(ids: dict[str, str], kind: str) -> list[tuple[str, str, Any]]:
    """Every request that names an id, with the one of this kind."""
    id_, claim = ids[kind].ljust(FILL, "0"), ids["claim"]
    found = requests(NAME, id_, claim, "acme")
    part = claim if kind == "claim" else id_[:16]
    return [one for one in found if part in one[1]]


Noting = Callable[[], AbstractContextManager[Way]]


async def noted(driver: AsgiDriver, request: tuple[str, str, Any], noting: Noting) -> Any:
    with noting() as way:
        reply = await ask(driver, *request)
    return told(reply), way


async def compare_ids(store: Store, clock: ManualClock, noting: Noting) -> None:
    """What is another's with what is nobody's, request by request."""
    elsewhere = World(MemoryStore(now=clock.now(), random_bytes=seeded_bytes(3)), clock, 4)
    nobodys = await elsewhere.settle("acme")
    world = World(store, clock, 2)
    for project in (*BYSTANDERS, "acme"):
        await world.settle(project)
    foreign = await world.settle("rival")
    driver = world.of("acme")
    for kind in KINDS:
        pairs = list(zip(about(nobodys, kind), about(foreign, kind), strict=True))
        assert pairs, f"there are requests about a {kind}"
        for missing, theirs in pairs:
            await noted(driver, missing, noting)  # what is done only once is done now
            there = await noted(driver, theirs, noting)
            not_there = await noted(driver, missing, noting)
            assert there == not_there, f"{theirs[0]} {theirs[1]}"


async def compare_worlds(stores: Sequence[Store], clock: ManualClock, noting: Noting) -> None:
    """All requests of a project that has nothing, one after the other: alone, and where another
    has something under the same names. The first world is to get used to it."""
    seen = []
    for number, store in enumerate(stores):
        world = World(store, clock, 2)
        nobodys = dict.fromkeys(KINDS, "024bb9c3800000d862c2e36b0a42f782")
        for project in (*BYSTANDERS, "rival")[: 3 if number == 1 else 2]:
            await world.settle(project)
        driver = world.of("acme")
        seen.append(
            [
                await noted(driver, request, noting)
                for request in requests(NAME, nobodys["message"], nobodys["claim"][:24], "acme")
            ]
        )
    _, with_rival, alone = seen
    asked = requests(NAME, "", "", "acme")
    for request, there, not_there in zip(asked, with_rival, alone, strict=True):
        assert there == not_there, f"{request[0]} {request[1]}"


def model(clock: ManualClock) -> MemoryStore:
    return MemoryStore(now=clock.now(), random_bytes=seeded_bytes(1))


async def test_an_id_of_anothers_takes_the_way_of_one_that_nobody_has(clock: ManualClock) -> None:
    await compare_ids(model(clock), clock, functions_entered)


async def test_a_name_that_another_has_takes_the_way_of_one_that_nobody_has(
    clock: ManualClock,
) -> None:
    await compare_worlds([model(clock) for _ in range(3)], clock, functions_entered)


@pytest.fixture
def statements() -> Iterator[Statements]:
    statements = Statements()
    apsw.connection_hooks.append(statements.watch)
    yield statements
    apsw.connection_hooks.remove(statements.watch)


@pytest.fixture
async def files(
    tmp_path: Path, clock: ManualClock, statements: Statements
) -> AsyncIterator[list[Store]]:
    """Empty ones, of which everything is noted."""
    assert statements
    async with AsyncExitStack() as stack:
        opened = []
        for number in range(3):
            url = f"sqlite://{tmp_path}/{number}.db"
            opened.append(
                await open_store(
                    StoreOptions(
                        url=url,
                        data_dir=str(tmp_path),
                        now=clock.now(),
                        random_bytes=seeded_bytes(1),
                    )
                )
            )
            stack.push_async_callback(opened[-1].close)
        yield opened


async def test_an_id_of_anothers_costs_the_statements_and_steps_of_one_that_nobody_has(
    files: list[Store], clock: ManualClock, statements: Statements
) -> None:
    await compare_ids(files[0], clock, statements.carried_out)


async def test_a_name_that_another_has_costs_the_statements_and_steps_of_one_that_nobody_has(
    files: list[Store], clock: ManualClock, statements: Statements
) -> None:
    await compare_worlds(files, clock, statements.carried_out)


async def test_a_look_at_what_is_anothers_would_be_noticed(
    files: list[Store], clock: ManualClock, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def of(self: KeyRecords, project: str, id_: str) -> Key | None:
        key = await self.get(id_)  # and then see whose it is
        return key if key is not None and key.project == project else None

    monkeypatch.setattr(KeyRecords, "of", of)
    with pytest.raises(AssertionError, match="GET /v2/keys/"):
        await compare_ids(files[0], clock, statements.carried_out)
