"""Pre-signed URLs for programs without an event loop; ``signed_urls`` says what each call does."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from nuska.client.blocking_paging import Iterated
from nuska.client.blocking_pools import Runner
from nuska.client.signed_urls import KeptUrl, SignedUrl, SignedUrls


class BlockingSignedUrls:
    """See ``SignedUrls``."""

    def __init__(self, portal: Runner, urls: SignedUrls, iterated: Iterated) -> None:
        self._portal = portal
        self._urls = urls
        self._iterated = iterated

    def share(
        self,
        *,
        methods: Sequence[str] = ("GET",),
        paths: Sequence[str] = ("messages",),
        expires: datetime | None = None,
    ) -> SignedUrl:
        return self._portal.run(self._urls.share(methods=methods, paths=paths, expires=expires))

    def create(
        self,
        *,
        methods: Sequence[str] = ("GET",),
        paths: Sequence[str] = ("messages",),
        expires: datetime | None = None,
        note: str = "",
        max_body: int | None = None,
        max_batch: int | None = None,
        uses: int | None = None,
        networks: Sequence[str] = (),
    ) -> tuple[KeptUrl, SignedUrl]:
        return self._portal.run(
            self._urls.create(
                methods=methods,
                paths=paths,
                expires=expires,
                note=note,
                max_body=max_body,
                max_batch=max_batch,
                uses=uses,
                networks=networks,
            )
        )

    def list(self, *, page: int | None = None) -> Iterator[KeptUrl]:
        return self._iterated(self._urls.list(page=page))

    def show(self, id_: str) -> KeptUrl:
        return self._portal.run(self._urls.show(id_))

    def revoke(self, id_: str) -> None:
        self._portal.run(self._urls.revoke(id_))
