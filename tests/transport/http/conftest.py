"""The API in the test's own loop: the application over the model store and a manual clock."""

from collections.abc import Callable
from typing import Any

import pytest

from nuska.core import Core, build_core
from nuska.domain.limits import Limits
from nuska.identity.none import NoAuthentication
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.transport.http import build_app

ALICE = "0f8fad5b-d9cb-469f-a165-70867728950e"
BOB = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
HEADERS = {"Client-ID": ALICE, "X-Project-Id": "acme"}

MakeApi = Callable[..., AsgiDriver]


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
