"""The data keys of encrypted queues: what an operator asks of a server, with the role ``admin``."""

from msgspec import Struct

from nuska.client.connection import Answer, Connection
from nuska.client.paging import Link, Page

KEYS = "/v2/encryption/keys"


class DataKeyEntry(Struct, frozen=True, kw_only=True):
    """What is known of a data key."""

    id: str
    queue: str
    """Whose posts it has sealed."""
    created_at: int
    """Seconds since the epoch."""
    operator_key: str
    """The name of the operator's key that wraps it."""


class _Keys(Struct, frozen=True):
    keys: list[DataKeyEntry]
    links: list[Link] = []


class _Counted(Struct, frozen=True):
    keys: int = 0
    queues: int = 0


class Encryption:
    """The data keys of the client's project."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rotate(self) -> int:
        """Seal with new keys from now on; how many queues had one."""
        answer = await self._connection.call("POST", "/v2/encryption/rotate")
        return answer.read(_Counted).queues

    async def erase(self) -> int:
        """Make unreadable for ever what is sealed; how many keys were erased."""
        return (await self._connection.call("DELETE", KEYS)).read(_Counted).keys

    async def rewrap(self) -> int:
        """Wrap the keys of every project with the operator's first key; how many were not."""
        answer = await self._connection.call("POST", "/v2/encryption/rewrap")
        return answer.read(_Counted).keys


def key_page(answer: Answer) -> Page[DataKeyEntry]:
    """One page of a list of keys."""
    page = answer.read(_Keys)
    return page.keys, page.links
