"""Sends one request and brings back its answer, or one of this client's errors.

Every call has a deadline, every answer a size limit. What may be sent again after a failure
is decided in ``retries``, carried out by ``persistence``, and nowhere below: the HTTP library
would repeat any DELETE by itself, pops included, so its errors are turned into ours before it can.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from nuska.client.address import Address, Query
from nuska.client.errors import (
    CLASS_OF_STATUS,
    CannotConnect,
    ConnectionBroken,
    DeadlinePassed,
    ErrorAnswer,
    UnreadableAnswer,
)
from nuska.client.persistence import Timing, persist
from nuska.client.retries import Repeat, RetryPolicy

CONNECT_TIMEOUT = 5.0
"""Seconds for one attempt to reach the server."""
IDLE_CONNECTION = 4.0
"""Seconds an unused connection is kept: less than servers keep theirs, so that few requests
are sent into a connection that is being closed."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer."""

NOT_OPEN = "this client is not open: use it as `async with Client(…) as client`"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx."""

    status: int
    headers: Mapping[str, str]
    """Looked up in any case of letters."""
    body: bytes

    def read(self, shape: type[T]) -> T:
        """The body as ``shape``; keys that ``shape`` does not know are ignored."""
        try:
            return msgspec.json.decode(self.body, type=shape)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise UnreadableAnswer(
                f"The answer is not what this API gives here ({error})."
            ) from error


class Connection:
    """The way to one server, for one project and one Client-ID."""

    def __init__(
        self,
        address: Address,
        *,
        headers: Mapping[str, str],
        timeout: float,
        retry: RetryPolicy,
        connections: int,
        timing: Timing,
    ) -> None:
        self.address = address
        self.timing = timing
        self.timeout = timeout
        self._headers = dict(headers)
        self._retry = retry
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        if self._session is not None:
            raise RuntimeError("this client is open already")
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_never_repeat_unasked,),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connector(self) -> aiohttp.BaseConnector:
        if self.address.socket_path is not None:
            return aiohttp.UnixConnector(
                self.address.socket_path,
                limit=self._connections,
                keepalive_timeout=IDLE_CONNECTION,
            )
        return aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=IDLE_CONNECTION)

    async def call(
        self,
        method: str,
        href: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: Repeat = Repeat.HARMLESS,
        timeout: float | None = None,  # noqa: ASYNC109  a budget over several attempts
    ) -> Answer:
        """Send a request, as often as its nature and the policy allow, within the deadline."""
        url = self.address.url(href, query)

        def once(seconds: float) -> Awaitable[Answer]:
            return self._once(method, url, body=body, headers=headers, seconds=seconds)

        return await persist(
            once,
            seconds=self.timeout if timeout is None else timeout,
            retry=self._retry,
            repeat=repeat,
            timing=self.timing,
        )

    async def _once(
        self,
        method: str,
        url: Any,
        *,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        seconds: float,
    ) -> Answer:
        if self._session is None:
            raise RuntimeError(NOT_OPEN)
        try:
            async with (
                asyncio.timeout(max(seconds, 0.0)),
                self._session.request(
                    method, url, data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                content = await _content(response)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise CannotConnect(f"{self.address} did not accept a connection.") from error
            raise DeadlinePassed(f"{self.address} did not answer in time.") from error
        except aiohttp.ClientConnectorError as error:
            raise CannotConnect(f"Cannot connect to {self.address}: {error.strerror}.") from error
        except aiohttp.ClientResponseError as error:
            raise UnreadableAnswer(f"{self.address} does not answer in HTTP.") from error
        except aiohttp.ClientError as error:
            raise ConnectionBroken(f"{self.address} broke off before its answer.") from error
        if response.status >= 300:
            raise _error(response.status, response.headers, content, response.reason or "")
        return Answer(response.status, response.headers, content)


async def _never_repeat_unasked(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again: it repeats what it sees break off."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # never repeated, and there is nothing in doubt
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionBroken(
            f"The connection to {request.url.host} broke off before its answer."
        ) from error


async def _content(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > MAX_ANSWER:
            raise UnreadableAnswer(f"The answer is longer than {MAX_ANSWER} bytes.")
    return bytes(content)


def _error(status: int, headers: Mapping[str, str], content: bytes, reason: str) -> ErrorAnswer:
    """The error an answer stands for; a proxy's HTML becomes its status line."""
    title, description = _said(content)
    retry_after = _retry_after(headers)
    return CLASS_OF_STATUS.get(status, ErrorAnswer)(
        status,
        title=title or f"{status} {reason}".strip(),
        description=description,
        request_id=headers.get("X-OpenStack-Request-ID"),
        retry_after=retry_after,
        final=status == HTTPStatus.SERVICE_UNAVAILABLE and bool(title) and retry_after is None,
    )


def _said(content: bytes) -> tuple[str, str]:
    """Title and description of an error body (contract README §7), or nothing."""
    try:
        match msgspec.json.decode(content):
            case {"error": {"title": str(title), "message": str(text)}}:
                return title, text
            case {"title": str(title), **rest}:
                description = rest.get("description")
                return title, description if isinstance(description, str) else ""
    except msgspec.DecodeError:
        pass
    return "", ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from either form of the header (RFC 9110 §10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        # The server's own clock is the one that its date is about.
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError):
        return None
    return max(wait.total_seconds(), 0.0)
