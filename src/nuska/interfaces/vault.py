"""What seals bodies before they are stored, and opens them for who may read them."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from nuska.domain.messages import QueueRef


class Lost(Enum):
    """Why a sealed body cannot be opened, now or ever."""

    ERASED = auto()
    """Its key has been erased, and with it what it sealed."""
    BROKEN = auto()
    """It is not what was sealed, or not of this project."""


class Vault(Protocol):
    """Raises ``Unavailable`` when keys cannot be read now, or the operator's key is missing."""

    async def seal(self, queue: QueueRef, bodies: Sequence[bytes]) -> list[bytes]:
        """The bodies, sealed with the key of the queue, which is made with its first post."""
        ...

    async def open(self, project: str, bodies: Sequence[bytes]) -> list[bytes | Lost]:
        """The bodies as they were posted, those that are not sealed as they are."""
        ...

    def fingerprint(self, project: str, of: bytes) -> bytes:
        """What stands for ``of``, a digest of a body, where it must be remembered."""
        ...
