"""The public keys of an issuer: fetched, kept, and fetched anew when they change.

Only keys that can verify and nothing else get in: a secret key, a key for encryption or an RSA
key that is too short is passed over. Keys that cannot be fetched anew are believed for a day,
and no longer.
"""

import asyncio
import logging
from collections.abc import Callable

import aiohttp
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, KeySet, OKPKey, RSAKey

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.interfaces.clock import Clock

MAX_ANSWER = 1_048_576
"""Bytes."""
MAX_KEYS = 100
MIN_RSA_BITS = 2048
FETCH_TIMEOUT = 5.0
"""Seconds."""
BETWEEN_FETCHES = seconds(10)
"""Tokens that name unknown keys cost the issuer a question at most this often."""
BELIEVED_FOR = seconds(86_400)
DISCOVERY = "/.well-known/openid-configuration"
NO_KEYS = "The keys of the tokens' issuer cannot be had now."

log = logging.getLogger("nuska.identity")


class IssuerKeys:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        clock: Clock,
        *,
        issuer: str,
        url: str,
        refresh: Duration,
        changed: Callable[[], None],
    ) -> None:
        """``url``: of the keys; empty: as the issuer's own document says. ``changed`` is called
        when what was verified before may not be believed any more."""
        self._session = session
        self._clock = clock
        self._issuer = issuer
        self._url = url
        self._refresh = refresh
        self._changed = changed
        self._keys: dict[str, KeySet] = {}
        self._known: KeySet | None = None
        self._fetched_at = Moment(0)
        self._tried_at: Moment | None = None
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def current(self, kid: str | None) -> KeySet:
        """The keys as they are, fetched anew if ``kid`` is not among them.

        Raises ``Unavailable`` when there are none that can be believed.
        """
        now = self._clock.now()
        keys = self._believed(now)
        if keys is None or (kid is not None and not _has(keys, kid)):
            await self._fetch_again(now)
            keys = self._believed(self._clock.now())
            if keys is None or (self._failed and kid is not None and not _has(keys, kid)):
                raise Unavailable(NO_KEYS)
        elif now >= after(self._fetched_at, self._refresh):
            self._begin(now)  # nobody waits for it
        return keys

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _believed(self, now: Moment) -> KeySet | None:
        return self._known if now < after(self._fetched_at, BELIEVED_FOR) else None

    async def _fetch_again(self, now: Moment) -> None:
        self._begin(now)
        if self._fetching is not None:
            await asyncio.shield(self._fetching)

    def _begin(self, now: Moment) -> None:
        """Start a fetch, unless one runs or the last was a moment ago."""
        if self._fetching is not None:
            return
        if self._tried_at is not None and now < after(self._tried_at, BETWEEN_FETCHES):
            return
        self._tried_at = now
        self._fetching = asyncio.create_task(self._fetch(), name="issuer's keys")
        self._fetching.add_done_callback(self._fetched)

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        began = self._clock.now()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                found = usable_keys(await self._get(self._url or await self._discover()))
        except (
            TimeoutError,
            aiohttp.ClientError,
            OSError,
            ValueError,
            msgspec.MsgspecError,
        ) as error:
            self._failed = True
            reason = type(error).__name__
            log.warning("the issuer's keys cannot be fetched", extra={"reason": reason})
            return
        self._failed = False
        self._fetched_at = began
        before, self._known = self._known, found
        if before is None or _ids(before) != _ids(found):
            self._changed()

    async def _discover(self) -> str:
        document = msgspec.json.decode(await self._get(self._issuer.rstrip("/") + DISCOVERY))
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            raise ValueError("the document is another issuer's")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or url.split(":")[0] != self._issuer.split(":")[0]:
            raise ValueError("the document names no keys")
        return url

    async def _get(self, url: str) -> bytes:
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            pieces, size = [], 0
            async for piece in answer.content.iter_any():
                pieces.append(piece)
                size += len(piece)
                if size > MAX_ANSWER:
                    raise ValueError("the answer is too large")
            return b"".join(pieces)


def usable_keys(document: bytes) -> KeySet:
    """The keys of a JWK set by which signatures can be verified. Raises ``ValueError``."""
    decoded = msgspec.json.decode(document)
    listed = decoded.get("keys") if isinstance(decoded, dict) else None
    if not isinstance(listed, list):
        raise ValueError("this is not a set of keys")
    found: list[RSAKey | ECKey | OKPKey] = []
    for entry in listed[:MAX_KEYS]:
        if isinstance(entry, dict) and entry.get("kty") in ("RSA", "EC", "OKP"):
            key = _read(entry)
            if key is not None:
                found.append(key)
    if not found:
        raise ValueError("there is no key that verifies signatures")
    return KeySet(list(found))


def _read(entry: dict[str, object]) -> RSAKey | ECKey | OKPKey | None:
    if entry.get("use", "sig") != "sig":
        return None
    public = {name: value for name, value in entry.items() if name not in _PRIVATE}
    try:
        key = JWKRegistry.import_key(public)  # type: ignore[arg-type]  # judged by the library
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey):
        return key if key.raw_value.key_size >= MIN_RSA_BITS else None
    return key if isinstance(key, ECKey | OKPKey) else None


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members of a key that an issuer must not publish; if one does, we have not seen them."""


def _ids(keys: KeySet) -> frozenset[tuple[str | None, str]]:
    return frozenset((key.kid, key.thumbprint()) for key in keys)


def _has(keys: KeySet, kid: str) -> bool:
    return any(key.kid == kid for key in keys)
