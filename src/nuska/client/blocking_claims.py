"""Held claims for programs without an event loop; see ``held`` for what each call does."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from nuska.client.errors import ClaimLost
from nuska.client.held import ClaimedMessage, HeldClaim
from nuska.client.portal import Portal


class BlockingClaimedMessage:
    """A message in a held claim."""

    def __init__(self, portal: Portal, message: ClaimedMessage) -> None:
        self._portal = portal
        self._message = message
        self.record = message.record
        self.id = message.id
        self.body: Any = message.body
        self.attributes = message.attributes

    def delete(self) -> None:
        """The work is done: delete the message. ``ClaimLost`` when it is no longer ours."""
        self._portal.run(self._message.delete())


class BlockingClaim:
    """A claim for the length of a ``with`` block, renewed in the background.

    What was not deleted is free at the end of the block. A block cannot be stopped from
    outside: ask ``lost`` before a step that must not be done twice. ``ClaimLost`` comes out
    of a block that ends after its claim.
    """

    def __init__(self, portal: Portal, claim: HeldClaim) -> None:
        self._portal = portal
        self._claim = claim

    @property
    def id(self) -> str | None:
        """None when there was nothing to claim."""
        return self._claim.id

    @property
    def lost(self) -> bool:
        """The claim is over; others may have its messages."""
        return self._claim.lost

    def keep(self) -> None:
        """Leave the messages claimed when the block ends."""
        self._claim.keep()

    def delete_all(self) -> None:
        """Delete every message that is left, in as few calls as possible."""
        self._portal.run(self._claim.delete_all())

    def __iter__(self) -> Iterator[BlockingClaimedMessage]:
        return (BlockingClaimedMessage(self._portal, message) for message in self._claim)

    def __len__(self) -> int:
        return len(self._claim)

    def __enter__(self) -> Self:
        self._portal.run(self._claim.acquire())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._portal.run(self._claim.end())
        if error is None and self._claim.lost and len(self._claim):
            raise ClaimLost(f"Claim {self.id} ended before the work on its messages did.")
