"""Queues for programs without an event loop."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nuska.client.blocking_claims import BlockingClaim
from nuska.client.blocking_paging import BlockingListing, iterated
from nuska.client.blocking_subscriptions import BlockingDeadLetters, BlockingSubscriptions
from nuska.client.blocking_urls import BlockingSignedUrls
from nuska.client.claims import CLAIM_TTL
from nuska.client.encoding import MESSAGES_PER_POST, batches
from nuska.client.pools import Carriage, Whereabouts
from nuska.client.portal import Portal
from nuska.client.queues import Queue
from nuska.client.records import Claim, Message, Metadata, NewMessage, RawMessage, Stats


class BlockingQueue:
    """One queue; see ``Queue`` for what each call does."""

    def __init__(self, portal: Portal, queue: Queue) -> None:
        self._portal = portal
        self._queue = queue
        self.name = queue.name

    @property
    def subscriptions(self) -> BlockingSubscriptions:
        return BlockingSubscriptions(
            self._portal, self._queue.subscriptions, iterated(self._portal)
        )

    @property
    def signed_urls(self) -> BlockingSignedUrls:
        return BlockingSignedUrls(self._portal, self._queue.signed_urls, iterated(self._portal))

    @property
    def dead_letters(self) -> BlockingDeadLetters:
        return BlockingDeadLetters(self._portal, self._queue.dead_letters, iterated(self._portal))

    def create(self, metadata: Mapping[str, Any] | None = None) -> bool:
        return self._portal.run(self._queue.create(metadata))

    def exists(self) -> bool:
        return self._portal.run(self._queue.exists())

    def metadata(self) -> Metadata:
        return self._portal.run(self._queue.metadata())

    def update(
        self, changes: Mapping[str, Any] | None = None, *, remove: Iterable[str] = ()
    ) -> Metadata:
        return self._portal.run(self._queue.update(changes, remove=remove))

    def delete(self) -> None:
        self._portal.run(self._queue.delete())

    def stats(self) -> Stats:
        return self._portal.run(self._queue.stats())

    def purge(self) -> None:
        self._portal.run(self._queue.purge())

    def whereabouts(self) -> Whereabouts:
        return self._portal.run(self._queue.whereabouts())

    def move(self, to: str) -> Carriage:
        return self._portal.run(self._queue.move(to))

    def moved(self) -> Carriage:
        return self._portal.run(self._queue.moved())

    def post(
        self,
        body: Any,
        *,
        ttl: int | None = None,
        delay: int | None = None,
        attributes: dict[str, Any] | None = None,
        key: str | None = None,
    ) -> str:
        posting = self._queue.post(body, ttl=ttl, delay=delay, attributes=attributes, key=key)
        return self._portal.run(posting)

    def post_many(self, messages: Iterable[NewMessage], *, key: str | None = None) -> list[str]:
        return self._portal.run(self._queue.post_many(messages, key=key))

    def post_in_batches(
        self, messages: Iterable[NewMessage], *, count: int = MESSAGES_PER_POST
    ) -> Iterator[list[str]]:
        size = self._portal.run(self._queue.max_post_size())
        for batch in batches(messages, count=count, size=size):  # in the caller's own thread
            yield self._portal.run(self._queue.post_encoded(batch))

    def messages(
        self,
        *,
        echo: bool = True,
        include_claimed: bool = False,
        include_delayed: bool = False,
        attributes: bool = False,
        page: int | None = None,
        marker: str | None = None,
        wait: int = 0,
        follow: bool = False,
    ) -> BlockingListing[Message]:
        listing = self._queue.messages(
            echo=echo,
            include_claimed=include_claimed,
            include_delayed=include_delayed,
            attributes=attributes,
            page=page,
            marker=marker,
            wait=wait,
            follow=follow,
        )
        return BlockingListing(self._portal, listing)

    def everything(self, *, page: int) -> BlockingListing[RawMessage]:
        return BlockingListing(self._portal, self._queue.everything(page=page))

    def message(self, message_id: str, *, attributes: bool = False) -> Message:
        return self._portal.run(self._queue.message(message_id, attributes=attributes))

    def delete_message(self, message_id: str, *, claim_id: str | None = None) -> None:
        self._portal.run(self._queue.delete_message(message_id, claim_id=claim_id))

    def delete_messages(self, message_ids: Iterable[str], *, claim_ids: Iterable[str] = ()) -> None:
        self._portal.run(self._queue.delete_messages(message_ids, claim_ids=claim_ids))

    def pop(self, limit: int = 1, *, wait: int = 0, attributes: bool = False) -> list[Message]:
        return self._portal.run(self._queue.pop(limit, wait=wait, attributes=attributes))

    def claim(
        self,
        *,
        limit: int = 1,
        ttl: int = CLAIM_TTL,
        grace: int | None = None,
        wait: int = 0,
        attributes: bool = False,
    ) -> BlockingClaim:
        claim = self._queue.claim(
            limit=limit, ttl=ttl, grace=grace, wait=wait, attributes=attributes
        )
        return BlockingClaim(self._portal, claim)

    def create_claim(
        self,
        *,
        limit: int = 1,
        ttl: int = CLAIM_TTL,
        grace: int | None = None,
        wait: int = 0,
        attributes: bool = False,
    ) -> Claim | None:
        return self._portal.run(
            self._queue.create_claim(
                limit=limit, ttl=ttl, grace=grace, wait=wait, attributes=attributes
            )
        )

    def show_claim(self, claim_id: str, *, attributes: bool = False) -> Claim:
        return self._portal.run(self._queue.show_claim(claim_id, attributes=attributes))

    def renew_claim(self, claim_id: str, *, ttl: int = CLAIM_TTL, grace: int | None = None) -> None:
        self._portal.run(self._queue.renew_claim(claim_id, ttl=ttl, grace=grace))

    def release_claim(self, claim_id: str, *, timeout: float | None = None) -> None:
        self._portal.run(self._queue.release_claim(claim_id, timeout=timeout))
