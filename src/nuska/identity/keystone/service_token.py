"""The service's own token: by a user's password or an application credential, and always fresh."""

import asyncio
import logging
from collections.abc import Mapping

from msgspec import Struct

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment, after, seconds
from nuska.identity.keystone.calls import SILENT, Issued, KeystoneCalls, Refused
from nuska.interfaces.clock import Clock

MARGIN = seconds(120)
"""A token with less than this left is replaced."""
LOGIN_PAUSE = seconds(10)
"""After a refused login: Keystone may lock a user who keeps trying a wrong password."""

log = logging.getLogger("nuska.identity")


class Password(Struct, frozen=True, kw_only=True):
    user: str
    user_domain: str
    password: str
    project: str
    project_domain: str

    @property
    def identity(self) -> Mapping[str, object]:
        user = {"name": self.user, "domain": {"name": self.user_domain}, "password": self.password}
        return {"methods": ["password"], "password": {"user": user}}

    @property
    def auth(self) -> Mapping[str, object]:
        project = {"name": self.project, "domain": {"name": self.project_domain}}
        return {"identity": self.identity, "scope": {"project": project}}

    def __repr__(self) -> str:
        return f"Password({self.user!r})"


class ApplicationCredential(Struct, frozen=True, kw_only=True):
    id: str
    secret: str

    @property
    def auth(self) -> Mapping[str, object]:
        credential = {"id": self.id, "secret": self.secret}
        identity = {"methods": ["application_credential"], "application_credential": credential}
        return {"identity": identity}

    def __repr__(self) -> str:
        return f"ApplicationCredential({self.id!r})"


Credentials = Password | ApplicationCredential


class ServiceToken:
    def __init__(self, calls: KeystoneCalls, credentials: Credentials, clock: Clock) -> None:
        self._calls = calls
        self._credentials = credentials
        self._clock = clock
        self._issued: Issued | None = None
        self._lock = asyncio.Lock()
        self._not_before = Moment(0)

    async def get(self) -> Issued:
        """A token that is good for a while. Raises ``Unavailable``."""
        async with self._lock:
            now = self._clock.now()
            held = self._issued
            if held is not None and held.data.ends > after(now, MARGIN):
                return held
            if now < self._not_before:
                raise Unavailable(SILENT)
            return await self._log_in()

    def reject(self, issued: Issued) -> None:
        """Keystone takes it no more."""
        if self._issued is issued:
            self._issued = None

    async def _log_in(self) -> Issued:
        try:
            issued = await self._calls.log_in(self._credentials.auth)
        except Refused as refusal:
            self._not_before = after(self._clock.now(), LOGIN_PAUSE)
            log.error(
                "Keystone refuses the service's own credentials", extra={"status": refusal.status}
            )
            raise Unavailable(SILENT) from None
        self._issued = issued
        return issued
