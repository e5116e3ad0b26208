"""The API in the test's own loop: the application over the model store and a manual clock."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from nuska.core import Core, build_core
from nuska.domain.errors import Unavailable
from nuska.domain.limits import Limits
from nuska.identity.none import NoAuthentication
from nuska.interfaces.pooling import PoolableStore
from nuska.stores.memory import MemoryStore
from nuska.stores.pooled import PooledStore, pooled
from nuska.testing.asgi import AsgiDriver, Reply
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.transport.http import build_app

from .statuses import known

ALICE = "0f8fad5b-d9cb-469f-a165-70867728950e"
BOB = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
HEADERS = {"Client-ID": ALICE, "X-Project-Id": "acme"}

MakeApi = Callable[..., AsgiDriver]


@pytest.fixture(autouse=True)
def further_statuses(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Only what Zaqar's clients know is answered, whatever a test here is about (quirk K12); but
    for what it adds to these, because an operator wanted it so."""
    further: set[int] = set()
    request = AsgiDriver.request

    async def checked(self: AsgiDriver, method: str, target: str, *what: Any, **more: Any) -> Reply:
        reply = await request(self, method, target, *what, **more)
        path = unquote(target.partition("?")[0])
        usual = reply.status in further or known(method, path, reply.status)
        assert usual, f"{reply.status} to {method} {target}"
        return reply

    monkeypatch.setattr(AsgiDriver, "request", checked)
    return further


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(now=clock.now(), random_bytes=seeded_bytes(1))


@pytest.fixture
def core(store: MemoryStore, clock: ManualClock) -> Core:
    return build_core(store=store, clock=clock, random_bytes=seeded_bytes(2))


@pytest.fixture
def api(core: Core) -> AsgiDriver:
    """Alice of the project acme."""
    return AsgiDriver(build_app(core, NoAuthentication()), HEADERS)


@pytest.fixture
def bob(api: AsgiDriver) -> AsgiDriver:
    """Another client of the same project."""
    return api.with_headers(Client_ID=BOB)


@pytest.fixture
def make_api(store: MemoryStore, clock: ManualClock) -> MakeApi:
    """``make_api(max_wait=1)``: an API with other limits; ``app`` holds options of the app."""

    def make(*, app: dict[str, Any] | None = None, **limits: Any) -> AsgiDriver:
        core = build_core(store=store, clock=clock, limits=Limits(**limits))
        return AsgiDriver(build_app(core, NoAuthentication(), **(app or {})), HEADERS)

    return make


class LastingStore(MemoryStore):
    """A server that is still there when a connection to it is closed."""

    async def close(self) -> None:
        pass


class Pooled:
    """A service over pools in memory, whose URIs are ``mem:NAME``; any of them can be down."""

    def __init__(
        self, clock: ManualClock, *, core: dict[str, Any] | None = None, **limits: Any
    ) -> None:
        """``core``: options of ``build_core``."""
        self.stores: dict[str, MemoryStore] = {}
        self.down: set[str] = set()
        self._clock = clock
        self.store: PooledStore = pooled(
            self._made(0), self._open, clock, seeded_bytes(3), fall_back=True
        )
        self.core = build_core(
            store=self.store,
            clock=clock,
            limits=Limits(**{"pooling": True, "admin_mode": True, **limits}),
            random_bytes=seeded_bytes(4),
            placement=self.store.placement,
            **(core or {}),
        )
        self.admin = AsgiDriver(
            build_app(self.core, NoAuthentication()), {**HEADERS, "X-Roles": "admin"}
        )
        self.user = self.admin.with_headers(X_Roles=None)

    def _made(self, number: int) -> MemoryStore:
        return LastingStore(now=self._clock.now(), random_bytes=seeded_bytes(number))

    async def _open(self, uri: str) -> PoolableStore:
        scheme, _, name = uri.partition(":")
        if scheme != "mem":
            raise ValueError("there is no such kind of store")
        if name in self.down:
            raise Unavailable("It is down.")
        return self.stores.setdefault(name, self._made(len(self.stores) + 10))

    async def add(self, *names: str, weight: int = 10) -> None:
        for name in names:
            body = {"uri": f"mem:{name}", "weight": weight}
            assert (await self.admin.put(f"/v2/pools/{name}", body)).status == 201

    def take_down(self, name: str) -> None:
        self.down.add(name)
        self.store.pools._opened.pop(name, None)

    async def carry(self) -> None:
        """Do what moves and drains wait for."""
        await self.store.placement.carriages._run_waiting()


@pytest.fixture
def pooled_service(clock: ManualClock) -> Pooled:
    return Pooled(clock)


@pytest.fixture
def make_pooled(clock: ManualClock) -> Callable[..., Pooled]:
    return lambda **limits: Pooled(clock, **limits)
