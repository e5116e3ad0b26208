"""Trusts: callers let the service's user act for them later on (contract notifications §3).

The caller's own token makes the trust, with all of the caller's roles in the project; a delivery
gets a token from it, which is kept while it is good for some minutes more. Only a user with a
password can do this: Keystone gives no such token for an application credential.
"""

import asyncio
from datetime import UTC, datetime

from nuska.domain.errors import InvalidInput, NotAllowed, NuskaError
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.identity.keystone.calls import Issued, KeystoneCalls, Refused
from nuska.identity.keystone.service_token import Password, ServiceToken
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller

MAX_KEPT = 10_000
MAX_TRUST_ID = 64
MARGIN: Duration = seconds(300)
"""A token with less than this left is not given to anybody."""
NO_LONGER = Moment(4_102_444_800_000)
"""2100: what ends later is a trust without an end, as far as Keystone's databases go."""


class KeystoneTrusts:
    """Implements ``Trusts`` for subscriptions, and ``TrustTokens`` for deliveries."""

    def __init__(
        self, calls: KeystoneCalls, service: ServiceToken, user: Password, clock: Clock
    ) -> None:
        self._calls = calls
        self._service = service
        self._user = user
        self._clock = clock
        self._kept: dict[str, Issued] = {}
        self._getting: dict[str, asyncio.Task[Issued]] = {}

    async def create(self, caller: Caller, token: str | None, *, until: Moment) -> str:
        """The id of a new trust. Raises ``NuskaError``."""
        if token is None:
            raise NotAllowed("A trust is made with a token of Keystone, which this request lacks.")
        service = await self._service.get()
        try:
            # The caller's own roles, by id, as Keystone itself says them.
            own = await self._calls.validate(token, token)
            trust = await self._calls.make_trust(
                {
                    "trustor_user_id": own.user.id,
                    "trustee_user_id": service.data.user.id,
                    "project_id": caller.project,
                    "impersonation": True,
                    "roles": [{"id": role.id} for role in own.roles],
                    "expires_at": _ending(until),
                },
                token,
            )
        except Refused:
            raise NotAllowed(
                "Keystone lets the token make no trust: it must be a user's own, not one of an "
                "application credential or of another trust."
            ) from None
        return trust.id

    async def check(self, caller: Caller, trust: str) -> None:
        """Return if the caller has given the trust, to this service, for this project."""
        if len(trust) > MAX_TRUST_ID or not trust.isalnum() or not trust.isascii():
            raise _not_a_trust()
        service = await self._service.get()
        try:
            found = await self._calls.trust(trust, service.token)
        except Refused:
            raise _not_a_trust() from None
        if (
            found.trustor_user_id != caller.user
            or found.trustee_user_id != service.data.user.id
            or found.project_id != caller.project
        ):
            raise _not_a_trust()

    async def token(self, trust_id: str) -> str:
        """A token that is good for some minutes more. Raises ``NuskaError`` within seconds."""
        kept = self._kept.get(trust_id)
        if kept is not None and kept.data.ends > after(self._clock.now(), MARGIN):
            return kept.token
        getting = self._getting.get(trust_id)
        if getting is None:
            getting = asyncio.create_task(self._get(trust_id), name="trust")
            self._getting[trust_id] = getting
            getting.add_done_callback(lambda task: self._got(trust_id, task))
        return (await asyncio.shield(getting)).token

    def forget(self, trust_id: str) -> None:
        """A subscriber did not take its token: the next one is new."""
        self._kept.pop(trust_id, None)

    async def close(self) -> None:
        getting = tuple(self._getting.values())
        for task in getting:
            task.cancel()
        await asyncio.gather(*getting, return_exceptions=True)

    def _got(self, trust_id: str, task: asyncio.Task[Issued]) -> None:
        del self._getting[trust_id]
        if not task.cancelled():
            task.exception()  # whoever waited was told

    async def _get(self, trust_id: str) -> Issued:
        scope = {"OS-TRUST:trust": {"id": trust_id}}
        try:
            issued = await self._calls.log_in({"identity": self._user.identity, "scope": scope})
        except Refused:
            raise NotAllowed(
                "Keystone gives no token from the trust: it has expired or was revoked."
            ) from None
        self._kept.pop(trust_id, None)
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[trust_id] = issued
        return issued


def _ending(until: Moment) -> str | None:
    if until >= NO_LONGER:
        return None
    return datetime.fromtimestamp(until // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _not_a_trust() -> NuskaError:
    return InvalidInput(
        "trust_id: this is not a trust that you have given to this service for this project."
    )
