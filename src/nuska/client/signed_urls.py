"""Pre-signed URLs of a queue: signing them, and those that the server keeps."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from nuska.client.address import segment
from nuska.client.connection import Answer, Connection
from nuska.client.encoding import encode_json
from nuska.client.paging import Link, Listing, Page

_JSON = {"Content-Type": "application/json"}


class SignedUrl(Struct, frozen=True, kw_only=True):
    """What a server has signed. Whoever holds it may do what it says: treat it as a secret."""

    paths: list[str]
    methods: list[str]
    project: str
    expires: str
    """In UTC, whole seconds, without a zone."""
    signature: str

    @property
    def headers(self) -> dict[str, str]:
        """What a request shows, beside ``Client-ID``."""
        return {
            "URL-Signature": self.signature,
            "URL-Expires": self.expires,
            "URL-Methods": ",".join(self.methods),
            "URL-Paths": ",".join(self.paths),
            "X-Project-Id": self.project,
        }

    @property
    def links(self) -> list[str]:
        """For each path one that needs no headers, without scheme and host."""
        query = {
            "signature": self.signature,
            "expires": self.expires,
            "methods": ",".join(self.methods),
            "paths": ",".join(self.paths),
            "project_id": self.project,
        }
        written = urlencode(query, quote_via=quote, safe=":,/")
        return [f"{path}?{written}" for path in self.paths]

    def __repr__(self) -> str:
        return f"SignedUrl(methods={self.methods!r}, paths={self.paths!r}, …)"


class KeptUrl(Struct, frozen=True, kw_only=True):
    """A URL that the server keeps, without its signature."""

    id: str
    queue_name: str
    paths: list[str]
    methods: list[str]
    created: str
    expires: str
    note: str = ""
    max_body: int | None = None
    max_batch: int | None = None
    uses: int | None = None
    used: int = 0
    networks: list[str] = []


class _Kept(Struct, frozen=True):
    grants: list[KeptUrl]
    links: list[Link] = []


class SignedUrls:
    """Made by ``Queue.signed_urls``."""

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._source = source

    async def share(
        self,
        *,
        methods: Sequence[str] = ("GET",),
        paths: Sequence[str] = ("messages",),
        expires: datetime | None = None,
    ) -> SignedUrl:
        """Have these ``methods`` on these ``paths`` of the queue signed, for a day unless
        ``expires`` says otherwise. It cannot be revoked: ``create`` makes one that can."""
        body = encode_json(_terms(methods, paths, expires))
        answer = await self._connection.call(
            "POST", f"{self._source}/share", body=body, headers=_JSON
        )
        return answer.read(SignedUrl)

    async def create(
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
        """As ``share``, and have it kept: good for so many ``uses``, for posts of ``max_body``
        bytes and ``max_batch`` messages, from ``networks``; without a limit where none is given."""
        narrowing: dict[str, Any] = {
            "note": note or None,
            "max_body": max_body,
            "max_batch": max_batch,
            "uses": uses,
            "networks": list(networks) or None,
        }
        given = {name: value for name, value in narrowing.items() if value is not None}
        body = encode_json({**_terms(methods, paths, expires), **given})
        answer = await self._connection.call(
            "POST", f"{self._source}/grants", body=body, headers=_JSON
        )
        return answer.read(KeptUrl), answer.read(SignedUrl)

    def list(self, *, page: int | None = None) -> Listing[KeptUrl]:
        """Those that are still good."""
        return Listing(self._connection, f"{self._source}/grants", {"limit": page}, kept_page)

    async def show(self, id_: str) -> KeptUrl:
        """``NotFound`` when there is none of this id any more."""
        answer = await self._connection.call("GET", f"{self._source}/grants/{segment(id_)}")
        return answer.read(KeptUrl)

    async def revoke(self, id_: str) -> None:
        """Have it refused from now on; it need not exist."""
        await self._connection.call("DELETE", f"{self._source}/grants/{segment(id_)}")


def _terms(
    methods: Sequence[str], paths: Sequence[str], expires: datetime | None
) -> Mapping[str, Any]:
    terms: dict[str, Any] = {"methods": list(methods), "paths": list(paths)}
    if expires is not None:
        terms["expires"] = expires.astimezone(UTC).isoformat()
    return terms


def kept_page(answer: Answer) -> Page[KeptUrl]:
    page = answer.read(_Kept)
    return page.grants, page.links
