"""Pools, flavors and moves: what an operator asks of a server, with the role ``admin``.

A server without authentication takes the roles from a header: make the client with
``headers=ADMIN``.
"""

from typing import Any
from urllib.parse import quote

from msgspec import Struct, field

from nuska.client.connection import Answer, Connection
from nuska.client.encoding import encode_json
from nuska.client.paging import Link, Page

ADMIN = {"X-Roles": "admin"}
"""Headers that make an admin of whoever calls, where the server asks nobody for proof."""
_JSON = {"Content-Type": "application/json"}


class PoolEntry(Struct, frozen=True, kw_only=True):
    """A pool as the server shows it."""

    name: str
    uri: str
    """Without its password."""
    weight: int
    flavor: str | None = None
    options: dict[str, Any] | None = None
    """None unless asked for."""
    href: str = ""


class FlavorEntry(Struct, frozen=True, kw_only=True):
    """A flavor as the server shows it."""

    name: str
    pool_list: list[str] = []
    capabilities: list[str] | None = None
    """None unless asked for."""
    href: str = ""


class Carriage(Struct, frozen=True, kw_only=True):
    """How far a move of a queue, or the drain of a pool, has come."""

    source: str | None = field(name="from", default=None)
    """None: the store that keeps the catalogue."""
    to: str | None = None
    """None: each queue goes wherever its flavor allows."""
    state: str
    """``waiting``, ``running``, ``done`` or ``failed``."""
    queues_done: int = 0
    queues_left: int = 0
    messages_done: int = 0
    messages_left: int = 0
    seconds: float = 0.0
    problem: str | None = None
    """Why it failed, or what it waits for."""

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed")


class Whereabouts(Struct, frozen=True, kw_only=True):
    """Where a queue lies."""

    pool: str | None
    """None: in the store that keeps the catalogue."""
    moving_to: str | None = None


class _Pools(Struct, frozen=True):
    pools: list[PoolEntry]
    links: list[Link] = []


class _Flavors(Struct, frozen=True):
    flavors: list[FlavorEntry]
    links: list[Link] = []


class Pool:
    """One pool by its name, whether or not it exists."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._href = f"/v2/pools/{quote(name, safe='')}"

    async def show(self) -> PoolEntry:
        """The pool with its options."""
        answer = await self._connection.call("GET", self._href, query={"detailed": True})
        return answer.read(PoolEntry)

    async def put(
        self,
        uri: str,
        *,
        weight: int,
        flavor: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Add the pool, or put it in place of the one of its name, whole."""
        document: dict[str, Any] = {"uri": uri, "weight": weight}
        if flavor is not None:
            document["flavor"] = flavor
        if options is not None:
            document["options"] = options
        await self._connection.call("PUT", self._href, body=encode_json(document), headers=_JSON)

    async def update(self, changes: dict[str, Any]) -> PoolEntry:
        """Change any of ``uri``, ``weight``, ``flavor`` and ``options``."""
        body = encode_json(changes)
        answer = await self._connection.call("PATCH", self._href, body=body, headers=_JSON)
        return answer.read(PoolEntry)

    async def delete(self) -> None:
        """Remove the pool; it need not exist. ``Conflict`` while its queues hold messages."""
        await self._connection.call("DELETE", self._href)

    async def drain(self, to: str | None = None) -> Carriage:
        """Have every queue in it carried elsewhere; begun already, that goes on."""
        return await _start(self._connection, f"{self._href}/drain", to)

    async def drained(self) -> Carriage:
        """How far the last drain has come. ``NotFound`` when there was none lately."""
        return (await self._connection.call("GET", f"{self._href}/drain")).read(Carriage)


class Flavor:
    """One flavor by its name, whether or not it exists."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._href = f"/v2/flavors/{quote(name, safe='')}"

    async def show(self) -> FlavorEntry:
        return (await self._connection.call("GET", self._href)).read(FlavorEntry)

    async def put(self, pools: list[str]) -> None:
        """Add the flavor, or change which pools it has."""
        body = encode_json({"pool_list": pools})
        await self._connection.call("PUT", self._href, body=body, headers=_JSON)

    async def delete(self) -> None:
        """Remove the flavor; its pools have none then. It need not exist."""
        await self._connection.call("DELETE", self._href)


async def whereabouts(connection: Connection, queue_href: str) -> Whereabouts:
    """In which pool a queue lies."""
    return (await connection.call("GET", f"{queue_href}/pool")).read(Whereabouts)


async def start_move(connection: Connection, queue_href: str, to: str) -> Carriage:
    """Have a queue carried to a pool; begun already, that goes on."""
    return await _start(connection, f"{queue_href}/move", to)


async def moved(connection: Connection, queue_href: str) -> Carriage:
    """How far the last move of a queue has come."""
    return (await connection.call("GET", f"{queue_href}/move")).read(Carriage)


async def _start(connection: Connection, href: str, to: str | None) -> Carriage:
    body = encode_json({} if to is None else {"to": to})
    answer = await connection.call("POST", href, body=body, headers=_JSON)
    return answer.read(Carriage)


def pool_page(answer: Answer) -> Page[PoolEntry]:
    """One page of a list of pools."""
    page = answer.read(_Pools)
    return page.pools, page.links


def flavor_page(answer: Answer) -> Page[FlavorEntry]:
    """One page of a list of flavors."""
    page = answer.read(_Flavors)
    return page.flavors, page.links
