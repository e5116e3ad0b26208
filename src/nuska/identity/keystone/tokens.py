"""Whose a caller's token is, by asking Keystone. What it says is kept by ``Remembered``."""

import asyncio
import logging

from nuska.domain.errors import NotAuthenticated, Unavailable
from nuska.identity.keystone.calls import SILENT, KeystoneCalls, Refused, TokenData
from nuska.identity.keystone.service_token import ServiceToken
from nuska.interfaces.identity import Verified

MAX_TOKEN = 8192
"""Characters; Fernet tokens have some 200, signed ones 1000 and more."""
MAX_QUESTIONS = 16
"""Put to Keystone at the same time."""
NOT_GOOD = "The token is not good, or not any more."

log = logging.getLogger("nuska.identity")


class KeystoneTokens:
    def __init__(self, calls: KeystoneCalls, service: ServiceToken, *, total: float) -> None:
        """``total``: seconds from the question to its answer, with the wait for a turn."""
        self._calls = calls
        self._service = service
        self._total = total
        self._turns = asyncio.Semaphore(MAX_QUESTIONS)

    async def ask(self, token: str) -> Verified:
        """Raises ``NotAuthenticated`` or ``Unavailable``."""
        if not token or len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable():
            raise NotAuthenticated(description=NOT_GOOD)
        try:
            async with asyncio.timeout(self._total), self._turns:
                data = await self._validate(token)
        except TimeoutError:
            raise Unavailable(SILENT) from None
        if data.project is None or not data.project.id:
            raise NotAuthenticated(
                description="The token is not for a project: ask for one that is."
            )
        return Verified(
            project=data.project.id,
            user=data.user.id,
            roles=frozenset(role.name.lower() for role in data.roles),
            expires_at=data.ends,
        )

    async def _validate(self, token: str) -> TokenData:
        """Our own token may have been revoked: then with a new one."""
        for _ in range(2):
            own = await self._service.get()
            try:
                return await self._calls.validate(token, own.token)
            except Refused as refusal:
                if refusal.status == 401:
                    self._service.reject(own)
                    continue
                if refusal.status in (400, 404):
                    raise NotAuthenticated(description=NOT_GOOD) from None
                log.error(
                    "Keystone does not let the service's user validate tokens",
                    extra={"status": refusal.status},
                )
                raise Unavailable(SILENT) from None
        raise Unavailable(SILENT)
