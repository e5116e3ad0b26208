"""Listings for programs without an event loop."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from nuska.client.paging import Listing
from nuska.client.portal import Portal

T = TypeVar("T")
Iterated = Callable[[Listing[Any]], Iterator[Any]]
"""Iterates over a listing from another thread."""


class BlockingListing(Generic[T]):
    """``for item in listing``; fetches page by page."""

    def __init__(self, portal: Portal, listing: Listing[T]) -> None:
        self._portal = portal
        self._listing = listing

    def pages(self) -> Iterator[list[T]]:
        pages = self._listing.pages()
        while True:
            try:
                yield self._portal.run(anext(pages))  # type: ignore[arg-type]  # is a coroutine
            except StopAsyncIteration:
                return

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page

    def all(self) -> list[T]:
        return list(self)


def iterated(portal: Portal) -> Iterated:
    return lambda listing: iter(BlockingListing(portal, listing))
