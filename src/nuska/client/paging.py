"""A listing, fetched page by page as it is iterated over.

The server gives every page that is not empty a link to the next one; the empty page is the
end (contract README §11).
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from nuska.client.address import Query
from nuska.client.persistence import Timing

T = TypeVar("T")


PAUSE = 0.5
"""Seconds between two empty answers to a listing that follows, at least."""


class Link(Struct, frozen=True):
    """Where a listing goes on."""

    href: str
    rel: str = ""


Page = tuple[list[T], list[Link]]


class Asks(Protocol):
    """The way to the server; what comes back is for the listing's ``read`` alone."""

    @property
    def timing(self) -> Timing: ...

    @property
    def timeout(self) -> float: ...

    async def call(
        self,
        method: str,
        href: str,
        /,
        *,
        query: Query,
        timeout: float,  # noqa: ASYNC109  a call's budget
    ) -> Any: ...


class Listing(Generic[T]):
    """What a listing call returns: ``async for item in listing``, or ``listing.pages()``.

    Each iteration starts from the beginning and fetches as it goes. With ``follow`` it does
    not end at the empty page but asks there again, each time waiting up to ``wait`` seconds
    in the server for something to come.
    """

    def __init__(
        self,
        connection: Asks,
        href: str,
        query: Query,
        read: Callable[[Any], Page[T]],
        *,
        wait: int = 0,
        follow: bool = False,
    ) -> None:
        if follow and wait < 1:
            raise ValueError("to follow a listing without a wait would ask without a pause")
        self._connection = connection
        self._start = (href, query)
        self._read = read
        self._wait = wait
        self._follow = follow

    async def pages(self) -> AsyncIterator[list[T]]:
        """Page by page; an empty page is never given."""
        href, query = self._start
        poll: Query = {"wait": self._wait or None}
        timing = self._connection.timing
        while True:
            asked_at = timing.clock()
            answer = await self._connection.call(
                "GET", href, query=query | poll, timeout=self._connection.timeout + self._wait
            )
            items, links = self._read(answer)
            if items:
                yield items
            following = next((link.href for link in links if link.rel == "next"), None)
            if items and following is not None:
                href, query = following, {}
            elif not self._follow:
                return
            elif not items and (early := PAUSE - (timing.clock() - asked_at)) > 0:
                await timing.sleep(early)  # a server that is stopping, say, does not wait

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page:
                yield item

    async def all(self) -> list[T]:
        """Everything at once, for listings known to be short."""
        return [item async for item in self]
