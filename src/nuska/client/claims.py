"""The calls of the API about claims, one by one. Nothing here renews anything: see ``held``."""

from msgspec import Struct

from nuska.client.address import segment
from nuska.client.encoding import encode_json
from nuska.client.errors import UnreadableAnswer
from nuska.client.messages import QueueMessages
from nuska.client.records import Claim, Message
from nuska.client.retries import Repeat

CLAIM_TTL = 300
"""Seconds a claim lasts unless told otherwise, as in the server."""


class _Claimed(Struct, frozen=True):
    messages: list[Message]


class _ClaimShown(Struct, frozen=True):
    ttl: int
    age: int
    messages: list[Message]


class QueueClaims(QueueMessages):
    """The claims of one queue."""

    async def create_claim(
        self,
        *,
        limit: int = 1,
        ttl: int = CLAIM_TTL,
        grace: int | None = None,
        wait: int = 0,
        attributes: bool = False,
    ) -> Claim | None:
        """Claim up to ``limit`` messages; None when nothing was free for ``wait`` seconds.

        Nobody renews this claim. If the connection breaks while the answer is on its way, the
        claim may exist without anybody knowing; its messages are free again after its ttl.
        """
        answer = await self._connection.call(
            "POST",
            f"{self._href}/claims",
            query={"limit": limit, "wait": wait or None, "attributes": attributes or None},
            body=_terms(ttl, grace),
            headers={"Content-Type": "application/json"},
            repeat=Repeat.HARMFUL,
            timeout=self._connection.timeout + wait,
        )
        if answer.status == 204:
            return None
        claim_id = answer.headers.get("Location", "").rpartition("/claims/")[2]
        if not claim_id:
            raise UnreadableAnswer("The answer does not say which claim was made.")
        messages = answer.read(_Claimed).messages
        return Claim(id=claim_id, ttl=ttl, age=0, messages=messages)

    async def show_claim(self, claim_id: str, *, attributes: bool = False) -> Claim:
        """A live claim and what is left of its messages; ``NotFound`` when it is over."""
        answer = await self._connection.call(
            "GET", self._claim_href(claim_id), query={"attributes": attributes or None}
        )
        shown = answer.read(_ClaimShown)
        return Claim(id=claim_id, ttl=shown.ttl, age=shown.age, messages=shown.messages)

    async def renew_claim(
        self, claim_id: str, *, ttl: int = CLAIM_TTL, grace: int | None = None
    ) -> None:
        """Let a live claim last ``ttl`` seconds from now; ``NotFound`` when it is over.

        A grace that is left out is the server's default, not what the claim had.
        """
        await self._connection.call(
            "PATCH",
            self._claim_href(claim_id),
            body=_terms(ttl, grace),
            headers={"Content-Type": "application/json"},
        )

    async def release_claim(
        self,
        claim_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  a call's budget
    ) -> None:
        """End a claim; its messages are free at once. It need not exist."""
        await self._connection.call("DELETE", self._claim_href(claim_id), timeout=timeout)

    def _claim_href(self, claim_id: str) -> str:
        return f"{self._href}/claims/{segment(claim_id)}"


def _terms(ttl: int, grace: int | None) -> bytes:
    """The body of a creation or renewal; no grace means the server's default."""
    return encode_json({"ttl": ttl} if grace is None else {"ttl": ttl, "grace": grace})
