"""What the settings mean for who is calling: an identity, with whatever it has to ask.

Keystone and an issuer of tokens are asked over connections of their own, which trust the same
certificates as webhooks do and go nowhere but where the settings say.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from msgspec import Struct

from nuska.core import Core
from nuska.core.key_uses import KeyUses
from nuska.delivering import trusting
from nuska.domain.moments import seconds
from nuska.identity.chosen import ChosenIdentity, TokenVerifier
from nuska.identity.jwt.issuer_keys import FETCH_TIMEOUT, IssuerKeys
from nuska.identity.jwt.tokens import ClaimRules, JwtTokens
from nuska.identity.keys import CHALLENGE, KeyTokens
from nuska.identity.keystone.calls import KeystoneCalls
from nuska.identity.keystone.service_token import ApplicationCredential, Password, ServiceToken
from nuska.identity.keystone.tokens import KeystoneTokens
from nuska.identity.keystone.trusts import KeystoneTrusts
from nuska.identity.none import NoAuthentication
from nuska.identity.remembered import Ask, Belief, Remembered
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Identity
from nuska.interfaces.storage import RandomBytes
from nuska.settings import Settings
from nuska.settings.auth import AuthSettings

REFUSED_FOR = seconds(10)
"""A token that was refused is refused again without asking for so long."""
IDLE = 30
"""Seconds for which a connection to Keystone is kept open for the next question."""
MAX_CONNECTIONS = 32


class Keystone(Struct, frozen=True, kw_only=True):
    """What speaks to Keystone in this process."""

    calls: KeystoneCalls
    service: ServiceToken
    trusts: KeystoneTrusts | None
    """None where the service has an application credential."""


@asynccontextmanager
async def keystone_of(settings: Settings, clock: Clock) -> AsyncIterator[Keystone | None]:
    """Keystone as the settings say; None where they say nothing of it."""
    auth = settings.auth
    if auth.auth_strategy != "keystone":
        yield None
        return
    async with _session(trusting(settings), auth.keystone_timeout) as session:
        calls = KeystoneCalls(session, auth.keystone_url, total=auth.keystone_timeout)
        credentials = _credentials(auth)
        service = ServiceToken(calls, credentials, clock)
        if not isinstance(credentials, Password):
            yield Keystone(calls=calls, service=service, trusts=None)
            return
        trusts = KeystoneTrusts(calls, service, credentials, clock)
        try:
            yield Keystone(calls=calls, service=service, trusts=trusts)
        finally:
            await trusts.close()


@asynccontextmanager
async def identifying(
    settings: Settings, core: Core, keystone: Keystone | None, random_bytes: RandomBytes
) -> AsyncIterator[Identity]:
    """The identity of this process. Raises ``CannotSend``."""
    if settings.auth.auth_strategy == "none":
        yield NoAuthentication()
        return
    async with AsyncExitStack() as stack:
        keys = await _keys(core, random_bytes, stack)
        tokens = await _tokens(settings, core.clock, keystone, random_bytes, stack)
        yield ChosenIdentity(keys, tokens, challenge=challenge_of(settings))


def challenge_of(settings: Settings) -> str:
    """What a 401 tells of how to prove who one is."""
    auth = settings.auth
    if auth.auth_strategy == "keystone":
        url = (auth.keystone_public_url or auth.keystone_url).rstrip("/").removesuffix("/v3")
        return f'Keystone uri="{url}"'
    return CHALLENGE


async def _keys(
    core: Core, random_bytes: RandomBytes, stack: AsyncExitStack
) -> TokenVerifier | None:
    if core.key_records is None:
        return None
    uses = KeyUses(core.key_records, core.clock)
    keys = KeyTokens(core.keys, uses, core.clock, random_bytes)
    stack.push_async_callback(keys.close)
    writing = asyncio.create_task(uses.run(), name="uses of keys")

    async def stop() -> None:
        uses.stop()
        await asyncio.wait([writing])

    stack.push_async_callback(stop)
    return keys


async def _tokens(
    settings: Settings,
    clock: Clock,
    keystone: Keystone | None,
    random_bytes: RandomBytes,
    stack: AsyncExitStack,
) -> TokenVerifier | None:
    auth = settings.auth
    if keystone is not None:
        asked = KeystoneTokens(keystone.calls, keystone.service, total=auth.keystone_timeout)
        return _remembered(asked.ask, auth, clock, random_bytes, stack)
    if auth.auth_strategy == "jwt":
        return await _jwt(settings, clock, random_bytes, stack)
    return None


async def _jwt(
    settings: Settings, clock: Clock, random_bytes: RandomBytes, stack: AsyncExitStack
) -> TokenVerifier:
    auth = settings.auth
    session = await stack.enter_async_context(_session(trusting(settings), FETCH_TIMEOUT))
    keys = IssuerKeys(
        session,
        clock,
        issuer=auth.jwt_issuer,
        url=auth.jwt_jwks_url,
        refresh=seconds(auth.jwt_refresh),
        changed=lambda: remembered.forget_all(),
    )
    stack.push_async_callback(keys.close)
    rules = ClaimRules(
        issuer=auth.jwt_issuer,
        audiences=auth.jwt_audience,
        algorithms=auth.jwt_algorithms,
        project=auth.jwt_project_claim,
        roles=auth.jwt_roles_claim,
        user=auth.jwt_user_claim,
        role_map=auth.role_map,
        leeway=auth.jwt_leeway,
    )
    remembered = _remembered(JwtTokens(keys, clock, rules).ask, auth, clock, random_bytes, stack)
    return remembered


def _remembered(
    ask: Ask, auth: AuthSettings, clock: Clock, random_bytes: RandomBytes, stack: AsyncExitStack
) -> Remembered:
    belief = Belief(
        recheck_after=seconds(auth.tokens_recheck_after),
        believed_for=seconds(auth.tokens_believed_for),
        refused_for=REFUSED_FOR,
        max_kept=auth.tokens_kept,
    )
    remembered = Remembered(ask, clock, belief, random_bytes)
    stack.push_async_callback(remembered.close)
    return remembered


def _credentials(auth: AuthSettings) -> Password | ApplicationCredential:
    if auth.keystone_credential_id:
        return ApplicationCredential(
            id=auth.keystone_credential_id, secret=auth.keystone_credential_secret
        )
    return Password(
        user=auth.keystone_user_name,
        user_domain=auth.keystone_user_domain,
        password=auth.keystone_password,
        project=auth.keystone_project_name,
        project_domain=auth.keystone_project_domain,
    )


def _session(tls: ssl.SSLContext, total: float) -> aiohttp.ClientSession:
    """No proxy from the environment, no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=tls, keepalive_timeout=IDLE),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=total),
    )
