"""The API keys of a project: made, listed and revoked by its admins."""

from collections.abc import Sequence

from msgspec import Struct

from nuska.client.address import segment
from nuska.client.connection import Answer, Connection
from nuska.client.encoding import encode_json
from nuska.client.paging import Link, Listing, Page

_JSON = {"Content-Type": "application/json"}
_HREF = "/v2/keys"


class Key(Struct, frozen=True, kw_only=True):
    """A key as the server shows it."""

    id: str
    name: str = ""
    roles: list[str] = []
    queues: list[str] | None = None
    """None: all."""
    topics: list[str] | None = None
    actions: list[str] | None = None
    """None: whatever its roles may do."""
    created: str = ""
    created_by: str = ""
    expires: str | None = None
    expired: bool = False
    last_used: str | None = None
    """To the hour."""


class MadeKey(Key, frozen=True, kw_only=True):
    """A key that was just made."""

    key: str
    """What its holder sends. The server does not show it again."""

    def __repr__(self) -> str:
        return f"MadeKey({self.id!r})"


class _Keys(Struct, frozen=True):
    keys: list[Key]
    links: list[Link] = []


class Keys:
    """Made by ``Client.keys``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self,
        name: str = "",
        *,
        roles: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        topics: Sequence[str] | None = None,
        actions: Sequence[str] | None = None,
        ttl: int | None = None,
    ) -> MadeKey:
        """Make a key; what is None is not limited, but for the role, which then is member."""
        given = {
            "name": name,
            "roles": roles,
            "queues": queues,
            "topics": topics,
            "actions": actions,
            "ttl": ttl,
        }
        body = {
            name: value if isinstance(value, str | int) else list(value)
            for name, value in given.items()
            if value is not None
        }
        answer = await self._connection.call("POST", _HREF, body=encode_json(body), headers=_JSON)
        return answer.read(MadeKey)

    def list(self, *, page: int | None = None, marker: str | None = None) -> Listing[Key]:
        """The project's keys by id, also those that have expired."""
        return Listing(self._connection, _HREF, {"limit": page, "marker": marker}, _page)

    async def show(self, key_id: str) -> Key:
        """``NotFound`` when there is none of this id."""
        return (await self._connection.call("GET", f"{_HREF}/{segment(key_id)}")).read(Key)

    async def revoke(self, key_id: str) -> None:
        """It need not exist."""
        await self._connection.call("DELETE", f"{_HREF}/{segment(key_id)}")


def _page(answer: Answer) -> Page[Key]:
    page = answer.read(_Keys)
    return page.keys, page.links
