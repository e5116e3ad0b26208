"""Who checks what a pre-signed request shows (contract signed-urls §5).

A signature that verifies stands for a caller of the signed project, with no roles, who may do
what its paths and methods say and nothing else: on HTTP, on WebSocket, for a subscriber's answer.
What was verified is remembered by the exact terms shown, until they expire; what did not verify
is never remembered, so that nobody can fill the memory with what he makes up.
"""

import logging
import re

from msgspec import Struct

from nuska.core.grants import GrantRecords, KeptGrant
from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.signing import SignedTerms, Signer, covering
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller, Grant, Verified

ACTIONS: dict[str, dict[str, frozenset[str]]] = {
    "messages": {
        "GET": frozenset({"messages:get_all", "messages:get"}),
        "POST": frozenset({"messages:create"}),
        "DELETE": frozenset({"messages:delete", "messages:delete_all"}),
    },
    "claims": {
        "GET": frozenset({"claims:get"}),
        "POST": frozenset({"claims:create"}),
        "PATCH": frozenset({"claims:update"}),
        "DELETE": frozenset({"claims:delete"}),
    },
    "subscriptions": {
        "GET": frozenset({"subscription:get_all", "subscription:get"}),
        "POST": frozenset({"subscription:create"}),
        "PATCH": frozenset({"subscription:update"}),
        "PUT": frozenset({"subscription:confirm"}),
        "DELETE": frozenset({"subscription:delete"}),
    },
}
"""What each method allows on each kind of path. Any other method allows nothing."""

REMEMBERED = 4096
"""Terms that verified."""
MAX_REMEMBERED_SIZE = 2048
"""Characters of terms that are remembered; longer ones are verified anew every time."""

log = logging.getLogger("nuska.signatures")
_PATH = re.compile(
    r"/v2/(queues|topics)/([A-Za-z0-9_.-]{1,64})/(messages|claims|subscriptions)(?:/[!-~]+)?"
)


class Admitted(Struct, frozen=True, kw_only=True):
    """A request whose signature is good."""

    verified: Verified
    kept_as: str = ""
    """The id that must be looked up first; empty: there is nothing more to ask."""
    queue: str = ""


class _Genuine(Struct, frozen=True):
    """Terms that one of our keys has signed."""

    until: Moment
    paths: dict[str, Admitted]


class SignatureDesk:
    def __init__(self, signer: Signer | None, clock: Clock, grants: GrantRecords | None) -> None:
        self._signer = signer
        self._clock = clock
        self._grants = grants
        self._genuine: dict[SignedTerms, _Genuine] = {}

    def look_at(self, terms: SignedTerms, *, method: str, path: str) -> Admitted | None:
        """Whether this is a request that the service has signed; never without a key."""
        genuine = self._genuine.get(terms)
        if genuine is None:
            genuine = self._verify(terms)
            if genuine is None:
                return None
        if self._clock.now() >= genuine.until:
            self._genuine.pop(terms, None)
            return None
        if method not in terms.methods:
            return None
        signed = covering(terms.paths, path)
        return None if signed is None else genuine.paths.get(signed)

    def letter(self, terms: SignedTerms, *, path: str) -> Moment | None:
        """The end of the letter that terms are which have been admitted; None when they are no
        letter: the service signs the path of one confirmation alone for its subscriber only."""
        return terms.ends if terms.paths == (path,) and not terms.kept_as else None

    async def look_up(self, admitted: Admitted, *, source: str | None) -> Verified | None:
        """Who is calling, with what is kept about the signature; None when it was revoked, is
        used up, or is not good for this ``source``, an address. ``spend`` before the request is
        carried out, if the uses are counted."""
        verified = admitted.verified
        if not admitted.kept_as:
            return verified
        if self._grants is None or verified.project is None or verified.grant is None:
            return None
        queue = QueueRef(verified.project, admitted.queue)
        kept = await self._grants.good_for(queue, admitted.kept_as, source)
        if kept is None:
            return None
        return Verified(
            project=verified.project,
            user=verified.user,
            grant=_narrowed(verified.grant, kept),
            expires_at=verified.expires_at,
        )

    async def spend(self, caller: Caller) -> bool:
        """Count one use of what the caller has shown; False when there is none left."""
        kept = _kept(caller)
        return self._grants is not None and kept is not None and await self._grants.count(*kept)

    async def give_back(self, caller: Caller) -> None:
        """The request that was to be the use came too fast for its project. Not being able to say
        so costs the use, and nothing else."""
        kept = _kept(caller)
        if self._grants is None or kept is None:
            return
        try:
            await self._grants.uncount(*kept)
        except Unavailable as error:
            log.warning("a use is not given back", extra={"reason": error.description})

    async def is_still_good(self, project: str, grant: Grant) -> bool:
        """Whether a signature that was redeemed is still kept: for connections that last."""
        if not (grant.id and grant.delegated):
            return True
        if self._grants is None:
            return False
        for name in grant.queues or ():
            return await self._grants.get(QueueRef(project, name), grant.id) is not None
        return False

    async def is_still_good_for(self, caller: Caller) -> bool:
        """Whether somebody whom a signature has made a caller would be one again."""
        ends = caller.expires_at
        if ends is not None and ends <= self._clock.now():
            return False
        return caller.grant is None or await self.is_still_good(caller.project, caller.grant)

    def _verify(self, terms: SignedTerms) -> _Genuine | None:
        if self._signer is None:
            return None
        until = self._signer.genuine_until(terms)
        if until is None:
            return None
        paths = {path: _admitted(terms, path, until) for path in terms.paths}
        genuine = _Genuine(until, {path: found for path, found in paths.items() if found})
        if _size(terms) <= MAX_REMEMBERED_SIZE:
            if len(self._genuine) >= REMEMBERED:
                del self._genuine[next(iter(self._genuine))]
            self._genuine[terms] = genuine
        return genuine


def _admitted(terms: SignedTerms, path: str, until: Moment) -> Admitted | None:
    """What the terms allow at one of their paths and below it."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    kind, name, noun = found.groups()
    if terms.kept_as and kind != "queues":
        return None  # nothing is kept about topics
    allowed = ACTIONS[noun]
    actions = frozenset().union(*(allowed.get(method, ()) for method in terms.methods))
    names = frozenset({name})
    grant = Grant(
        id=terms.kept_as,
        actions=actions,
        queues=names if kind == "queues" else None,
        topics=names if kind == "topics" else None,
        delegated=True,
    )
    return Admitted(
        verified=Verified(project=terms.project, grant=grant, expires_at=until),
        kept_as=terms.kept_as,
        queue=name,
    )


def _narrowed(grant: Grant, kept: KeptGrant) -> Grant:
    return Grant(
        id=grant.id,
        actions=grant.actions,
        queues=grant.queues,
        topics=grant.topics,
        max_body=kept.max_body,
        max_batch=kept.max_batch,
        counted=kept.uses is not None,
        delegated=True,
    )


def _kept(caller: Caller) -> tuple[QueueRef, str] | None:
    """The queue and the id under which what the caller has shown is kept."""
    grant = caller.grant
    if grant is None or not grant.queues:
        return None
    return QueueRef(caller.project, next(iter(grant.queues))), grant.id


def _size(terms: SignedTerms) -> int:
    texts = (*terms.paths, *terms.methods, terms.project or "", terms.expires, terms.signature)
    return sum(map(len, texts))
