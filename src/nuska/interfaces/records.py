"""Small named documents that a store keeps beside queues: pools, where queues lie, subscriptions.

They change by compare-and-set and are read by key; nothing searches them by what they say.
"""

from typing import Protocol

from msgspec import Struct

ABSENT = ""
"""The version of a record that does not exist."""

MAX_RECORD = 65_536
"""Bytes of one record's value; a store need not take more."""


class Record(Struct, frozen=True, gc=False):
    """A document as it was read."""

    key: str
    value: bytes
    version: str
    """Differs from that of everything the key held before, also across a removal."""


class RecordStore(Protocol):
    """Documents by collection and key. Each method is one atomic, durable step."""

    async def get(self, collection: str, key: str) -> Record | None: ...

    async def put(self, collection: str, key: str, value: bytes, *, version: str) -> str | None:
        """Store ``value`` if the record's version is still ``version`` (``ABSENT``: if there is
        none); its new version, or None, and nothing changed, when it is another."""
        ...

    async def remove(self, collection: str, key: str, *, version: str) -> bool:
        """Remove the record if its version is still ``version``; whether it was."""
        ...

    async def page(
        self, collection: str, *, after: str = "", before: str | None = None, limit: int
    ) -> list[Record]:
        """Records by key (code point order), after the key ``after`` and below ``before``."""
        ...
