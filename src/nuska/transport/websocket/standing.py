"""Who speaks on a connection, as far as that has been shown.

Every request names its project. Without authentication that is believed, as on HTTP; with it,
the project must be the one of the token that ``authenticate`` has shown on this connection. What
that token is good for is looked at every few seconds: roles come and go while a connection lasts.
A request with a signature stands for itself, and is verified or refused (S1, S2).
"""

from collections.abc import Mapping
from http import HTTPStatus
from inspect import isawaitable

from nuska.core import Core
from nuska.core.access import allow
from nuska.core.signatures import Admitted
from nuska.domain.errors import InvalidHeader, NotAllowed, NotAuthenticated, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import is_queue_name
from nuska.domain.moments import Moment, after, seconds
from nuska.domain.signing import SignedTerms
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller, Credentials, Identity, Verified, Watch
from nuska.transport.websocket.actions.rows import CLIENT_ID, PROJECT_ID, TOKEN, Action
from nuska.transport.websocket.frames import refused
from nuska.transport.wire.callers import client_of

KEY = "X-Api-Key"
ROLES = "X-Roles"
SIGNATURE = "URL-Signature"
EXPIRES = "URL-Expires"
METHODS = "URL-Methods"
PATHS = "URL-Paths"

_WHO = (PROJECT_ID, CLIENT_ID, ROLES)
"""Headers that say who sends a request, besides a signature."""
LOOKED_AT_EVERY = seconds(2)
"""What a token or key is good for, for as long as its connection lasts."""
IN_DOUBT = "Who you are cannot be checked now."
NOT_AUTHENTICATED = "Not authentified."
OTHER_PROJECT = "Not authenticated."
Headers = Mapping[str, object]


class Standing:
    """What has been shown on one connection."""

    __slots__ = (
        "_caller",
        "_core",
        "_identity",
        "_look_at",
        "_proofs",
        "_said",
        "_watch",
        "in_doubt",
        "source",
        "verified",
    )

    def __init__(self, core: Core, identity: Identity, source: str | None) -> None:
        """``source``: the address that the connection comes from."""
        self._core = core
        self._identity = identity
        self.source = source
        self.verified: Verified | None = None
        """By the token shown last, as far as that is known by now."""
        self.in_doubt = False
        """Nobody could say for too long whether that still holds."""
        self._proofs = Credentials()
        self._watch: Watch | None = None
        self._look_at = Moment(0)
        self._said: tuple[object, ...] | None = None
        """By the last request of one who is named in ``_caller``."""
        self._caller = Caller("")

    @property
    def token(self) -> str | None:
        """The one shown last, for who can act by it alone."""
        return self._proofs.token

    @property
    def is_known(self) -> bool:
        return self.verified is not None or self._identity.believes_claims

    @property
    def ends_at(self) -> Moment | None:
        """When to look again at what was shown: see ``look``."""
        if self.verified is None:
            return None
        ends = self.verified.expires_at
        return self._look_at if ends is None else min(ends, self._look_at)

    def look(self, now: Moment) -> None:
        """Learn what was shown is good for by now. Raises ``NotAuthenticated`` when that is over:
        it has expired, is known to be revoked, or stands for another project."""
        before = self.verified
        if before is None or self._watch is None:
            return
        if before.expires_at is not None and before.expires_at <= now:
            raise NotAuthenticated("")
        if now < self._look_at:
            return
        self._look_at = after(now, LOOKED_AT_EVERY)
        self._said = None  # whoever asks next is made out anew
        found = self._watch.look()
        self.in_doubt = found is None
        if found is None:
            return
        if found.project != before.project:
            raise NotAuthenticated("")
        self.verified = found

    def may_go_on(self, action: str, queue: QueueRef) -> bool:
        """Whether the holder of the token may do by now what he was allowed to begin."""
        if self.verified is None or self._identity.believes_claims:
            return True
        project = self.verified.project or ""
        try:
            allow(self._core.access.caller(self.verified, project, b""), action, queue)
        except NotAllowed:
            return False
        return True

    async def check_again(
        self, caller: Caller, action: Action, headers: Headers, queue: str
    ) -> None:
        """For a request that has waited: raise what it would be refused with by now."""
        if SIGNATURE in headers:
            if not await self._core.desk.is_still_good_for(caller):
                raise refused(HTTPStatus.FORBIDDEN, NOT_AUTHENTICATED)
            return
        if self._identity.believes_claims:
            return
        if self.in_doubt:
            raise Unavailable(IN_DOUBT)
        if self.verified is None or self.verified.project != caller.project:
            raise refused(HTTPStatus.FORBIDDEN, OTHER_PROJECT)
        if action.permission is not None:
            now = self._core.access.caller(self.verified, caller.project, caller.client)
            allow(now, action.permission, QueueRef(caller.project, queue))

    async def authenticate(self, headers: Headers) -> None:
        """Speak for the holder of a token from now on. Raises ``NotAuthenticated``."""
        if self._identity.believes_claims:
            return
        project = _text(headers, PROJECT_ID)
        proofs = Credentials(token=_text(headers, TOKEN) or None, key=_text(headers, KEY) or None)
        found = self._identity.identify(proofs)
        verified = await found if isawaitable(found) else found
        if verified.project != project:
            raise NotAuthenticated("")
        self.verified = verified
        self._said = None
        self.in_doubt = False
        self._proofs = proofs
        self._watch = self._identity.watch(proofs, verified)
        self._look_at = after(self._core.clock.now(), LOOKED_AT_EVERY)

    async def caller(self, action: Action, headers: Headers, queue: str) -> Caller:
        """Who sends a request. Raises ``Refused`` for somebody who has not shown enough."""
        if SIGNATURE in headers:
            return await self._made_out(action, headers, queue)
        if self._has_expired(self._core.clock):
            raise refused(HTTPStatus.FORBIDDEN, NOT_AUTHENTICATED)
        # Who says the same as the last time is the same: most connections say one thing.
        said = (*(headers.get(name) for name in _WHO), action.checks_client)
        if said != self._said:
            self._caller = await self._made_out(action, headers, queue)
            self._said = said
        return self._caller

    def _has_expired(self, clock: Clock) -> bool:
        """Whether what was shown is over, though the connection has not been closed for it yet."""
        ends = None if self.verified is None else self.verified.expires_at
        return ends is not None and ends <= clock.now()

    async def _made_out(self, action: Action, headers: Headers, queue: str) -> Caller:
        project = _text(headers, PROJECT_ID)
        if SIGNATURE in headers:
            verified = await self._signed(action, headers, queue)
        elif self._identity.believes_claims:
            claimed = Credentials(project=project, roles=_text(headers, ROLES))
            found = self._identity.identify(claimed)
            verified = await found if isawaitable(found) else found
        elif self.verified is None:
            raise refused(HTTPStatus.FORBIDDEN, NOT_AUTHENTICATED)
        elif self.in_doubt:
            raise Unavailable(IN_DOUBT)
        else:
            verified = self.verified
        if verified.project != project:
            raise refused(HTTPStatus.FORBIDDEN, OTHER_PROJECT)
        if not project:
            raise InvalidHeader(
                "Empty project header not allowed", "The header X-Project-ID is empty."
            )
        client = self._client(action, _text(headers, CLIENT_ID))
        return self._core.access.caller(verified, project, client)

    def _client(self, action: Action, text: str) -> bytes:
        """In a form that can be compared; its syntax counts for some actions only."""
        header = text.encode()
        try:
            return client_of(header, self._core.limits)
        except InvalidHeader:
            if action.checks_client:
                raise
            return header

    async def _signed(self, action: Action, headers: Headers, queue: str) -> Verified:
        admitted = self._admitted(action, headers, queue)
        verified: Verified | None = None
        if admitted is not None:
            verified = await self._core.desk.look_up(admitted, source=self.source)
        if verified is None:
            raise refused(HTTPStatus.FORBIDDEN, NOT_AUTHENTICATED)
        return verified

    async def spend(self, caller: Caller) -> None:
        """Count one use of the signature that a request was shown with."""
        if not await self._core.desk.spend(caller):
            raise refused(HTTPStatus.FORBIDDEN, NOT_AUTHENTICATED)

    def is_signed(self, action: Action, headers: Headers, queue: str) -> bool:
        """Whether a request shows a signature that is good for it, whatever is kept about that."""
        return self._admitted(action, headers, queue) is not None

    def _admitted(self, action: Action, headers: Headers, queue: str) -> Admitted | None:
        # A name that is none could lead to a path below the one that was signed.
        if action.signed_method is None or not is_queue_name(queue):
            return None
        terms = SignedTerms(
            paths=_texts(headers, PATHS),
            methods=_texts(headers, METHODS),
            project=_text(headers, PROJECT_ID) or None,
            expires=_text(headers, EXPIRES),
            signature=_text(headers, SIGNATURE),
        )
        path = f"/v2/queues/{queue}/messages"
        return self._core.desk.look_at(terms, method=action.signed_method, path=path)


def _text(headers: Headers, name: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else ""


def _texts(headers: Headers, name: str) -> tuple[str, ...]:
    value = headers.get(name)
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value if isinstance(item, str))
