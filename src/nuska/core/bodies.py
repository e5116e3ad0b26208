"""Bodies between callers and the store: sealed on their way in where a queue is encrypted, opened
on their way out wherever they lie.

Whether a body is sealed is written on it. A queue's setting decides about what is posted from
then on, and a reader needs no setting at all: messages move, and settings change.
"""

import logging
from collections.abc import Sequence

from msgspec.structs import replace

from nuska.domain.errors import KeyMissing
from nuska.domain.internal import owner_of
from nuska.domain.messages import Idempotency, Message, NewMessage, QueueRef
from nuska.domain.sealed import any_sealed, unmistakable
from nuska.interfaces.vault import Lost, Vault

log = logging.getLogger("nuska.bodies")


class Bodies:
    def __init__(self, vault: Vault | None) -> None:
        """``vault``: None where the operator has configured no key."""
        self._vault = vault

    async def seal(
        self, queue: QueueRef, messages: list[NewMessage], *, encrypted: bool
    ) -> list[NewMessage]:
        """``messages`` as they are stored."""
        if not encrypted:
            if any_sealed(message.body for message in messages):
                return [replace(one, body=unmistakable(one.body)) for one in messages]
            return messages
        if self._vault is None:
            raise KeyMissing(
                "The queue is encrypted, and this server has no encryption key: its operator has "
                "to configure it."
            )
        bodies = await self._vault.seal(queue, [message.body for message in messages])
        return [replace(one, body=body) for one, body in zip(messages, bodies, strict=True)]

    def remember(self, queue: QueueRef, promise: Idempotency) -> Idempotency:
        """``promise`` as it is stored: what it says of the content is for us alone. So it is of
        every queue, since a repeat may come after the queue was changed."""
        if self._vault is None:
            return promise
        project = owner_of(queue.project)
        return replace(promise, fingerprint=self._vault.fingerprint(project, promise.fingerprint))

    async def open(self, queue: QueueRef, messages: Sequence[Message]) -> list[Message]:
        """``messages`` as they were posted, without those that nobody can open any more."""
        return (await self.sort(queue, messages))[0]

    async def sort(
        self, queue: QueueRef, messages: Sequence[Message]
    ) -> tuple[list[Message], list[Message]]:
        """The same, and those whose keys have been erased, of which nothing can be had ever."""
        if not any_sealed([message.body for message in messages]):
            return list(messages), []
        if self._vault is None:
            raise KeyMissing(
                "The messages are encrypted, and this server has no encryption key: its operator "
                "has to configure it."
            )
        bodies = await self._vault.open(
            owner_of(queue.project), [message.body for message in messages]
        )
        opened: list[Message] = []
        erased: list[Message] = []
        for message, body in zip(messages, bodies, strict=True):
            if body is Lost.ERASED:
                erased.append(message)
            elif body is Lost.BROKEN:
                log.error("a message is not as it was sealed", extra={"message": message.id})
            else:
                is_plain = body is message.body
                stored = None if is_plain else message.body
                opened.append(message if is_plain else replace(message, body=body, stored=stored))
        return opened, erased


def as_stored(messages: Sequence[Message]) -> list[Message]:
    """Opened messages as they lay in the store."""
    return [
        one if one.stored is None else replace(one, body=one.stored, stored=None)
        for one in messages
    ]
