"""The few calls of Keystone's API that are needed, each with a limit of time and of size.

Answers are read into records; no answer, and no credential, gets into an error or a log.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment

MAX_ANSWER = 262_144
"""Bytes."""
TOKEN = "X-Auth-Token"  # noqa: S105  # the name of a header
SUBJECT = "X-Subject-Token"
SILENT = "Keystone cannot be asked now."

T = TypeVar("T")


class Refused(Exception):
    """Keystone said no; the argument is its status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Named(Struct, frozen=True):
    id: str
    name: str = ""


class TokenData(Struct, frozen=True):
    """What Keystone says of a token."""

    expires_at: datetime
    user: Named
    project: Named | None = None
    roles: list[Named] = []

    @property
    def ends(self) -> Moment:
        return Moment(int(self.expires_at.timestamp() * 1000))


class Issued(Struct, frozen=True):
    """A token that Keystone has given."""

    token: str
    data: TokenData


class Trust(Struct, frozen=True):
    id: str
    trustor_user_id: str
    trustee_user_id: str
    project_id: str | None = None
    expires_at: datetime | None = None


class _TokenAnswer(Struct, frozen=True):
    token: TokenData


class _TrustAnswer(Struct, frozen=True):
    trust: Trust


def base_of(url: str) -> str:
    """Keystone's version 3 below what an operator wrote."""
    return url.rstrip("/").removesuffix("/v3") + "/v3"


class KeystoneCalls:
    """Every method raises ``Refused`` for a no of Keystone, and ``Unavailable`` without one."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, total: float) -> None:
        """``total``: seconds for one call."""
        self._session = session
        self._base = base_of(url)
        self._total = total

    async def log_in(self, auth: Mapping[str, object]) -> Issued:
        headers, data = await self._call(
            "POST", "/auth/tokens?nocatalog", json={"auth": auth}, expected=(201,)
        )
        token = headers.get(SUBJECT, "")
        if not token:
            raise Unavailable(SILENT)
        return Issued(token, _read(_TokenAnswer, data).token)

    async def validate(self, subject: str, token: str) -> TokenData:
        """Whose ``subject`` is, asked by the owner of ``token``."""
        headers = {TOKEN: token, SUBJECT: subject}
        _, data = await self._call("GET", "/auth/tokens?nocatalog", headers=headers)
        return _read(_TokenAnswer, data).token

    async def make_trust(self, terms: Mapping[str, object], token: str) -> Trust:
        _, data = await self._call(
            "POST",
            "/OS-TRUST/trusts",
            headers={TOKEN: token},
            json={"trust": terms},
            expected=(201,),
        )
        return _read(_TrustAnswer, data).trust

    async def trust(self, id_: str, token: str) -> Trust:
        _, data = await self._call("GET", f"/OS-TRUST/trusts/{id_}", headers={TOKEN: token})
        return _read(_TrustAnswer, data).trust

    async def _call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        expected: tuple[int, ...] = (200,),
    ) -> tuple[Mapping[str, str], bytes]:
        try:
            async with (
                asyncio.timeout(self._total),
                self._session.request(
                    method, self._base + path, headers=headers, json=json, allow_redirects=False
                ) as answer,
            ):
                body = await _body(answer)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(SILENT) from _without_words(error)
        if answer.status in expected:
            return answer.headers, body
        if 400 <= answer.status < 500 and answer.status != 429:
            raise Refused(answer.status)
        raise Unavailable(SILENT)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER:
            raise Unavailable(SILENT)
        pieces.append(piece)
    return b"".join(pieces)


def _read(kind: type[T], data: bytes) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise Unavailable(SILENT) from _without_words(error)


def _without_words(error: Exception) -> Exception:
    """An error that says of which kind another is, and nothing that may come from a request."""
    plain: Any = type(error).__name__
    return RuntimeError(plain)
