"""Giving away a part of what one may do: pre-signed URLs, and those that are kept.

Nobody can give away what he may not do himself, and a credential that is narrower than a caller
gives away nothing it does not have. A signature that is not kept is good until it expires or its
key is gone; one that is kept can be listed, narrowed further, and revoked.
"""

from collections.abc import Collection

from msgspec import Struct

from nuska.core.access import allow
from nuska.core.grants import GrantRecords, KeptGrant
from nuska.core.ranges import check_range, page_size
from nuska.core.signatures import ACTIONS
from nuska.domain.egress import parse_networks
from nuska.domain.errors import Conflict, InvalidInput, NotAllowed, NotFound
from nuska.domain.limits import MAX_MESSAGES_PER_POST, Limits
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment, after
from nuska.domain.signing import SignedTerms, Signer
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.storage import RandomBytes

MAX_GRANTS = 1_000
"""Kept for one queue at a time."""
MAX_GRANTS_PER_PAGE = 100
MAX_USES = 1_000_000_000
MAX_NETWORKS = 32
MAX_NOTE = 256
"""Characters."""
ID_BYTES = 12
DEFAULT_MAX_LIFETIME = Duration(315_360_000_000)
"""Ten years."""


class SharingRules(Struct, frozen=True, kw_only=True):
    """What the operator says about pre-signed URLs."""

    signer: Signer | None = None
    max_lifetime: Duration = DEFAULT_MAX_LIFETIME


class ShareTerms(Struct, frozen=True, kw_only=True):
    """What is to be signed."""

    paths: tuple[str, ...]
    """Of ``messages``, ``claims`` and ``subscriptions``."""
    methods: tuple[str, ...]
    expires_at: Moment


class Narrowing(Struct, frozen=True, kw_only=True):
    """What a kept one is good for, beside its terms. None: no limit of its own."""

    note: str = ""
    max_body: int | None = None
    max_batch: int | None = None
    uses: int | None = None
    networks: tuple[str, ...] = ()


class SharingService:
    def __init__(
        self,
        rules: SharingRules,
        clock: Clock,
        limits: Limits,
        random_bytes: RandomBytes,
        grants: GrantRecords | None,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._limits = limits
        self._random_bytes = random_bytes
        self._kept = grants

    def share(self, caller: Caller, name: str, terms: ShareTerms) -> SignedTerms:
        """Sign the terms for whoever is shown them. The queue need not exist, and is not made."""
        self._check(caller, name, terms)
        return self._sign(caller, name, terms)

    async def create(
        self, caller: Caller, name: str, terms: ShareTerms, narrowing: Narrowing
    ) -> tuple[KeptGrant, SignedTerms]:
        """As ``share``, and keep it: it can be revoked."""
        self._check(caller, name, terms)
        self._check_narrowing(narrowing)
        queue = QueueRef(caller.project, name)
        if await self._grants.count_and_clear(queue) >= MAX_GRANTS:
            raise Conflict(f"The queue has {MAX_GRANTS} kept URLs already: revoke some.")
        signed = self._sign(caller, name, terms, keep_as=self._random_bytes(ID_BYTES).hex())
        grant = KeptGrant(
            id=signed.kept_as,
            queue=name,
            paths=signed.paths,
            methods=signed.methods,
            created_at=self._clock.now(),
            expires_at=terms.expires_at,
            note=narrowing.note,
            max_body=narrowing.max_body,
            max_batch=narrowing.max_batch,
            uses=narrowing.uses,
            networks=narrowing.networks,
        )
        await self._grants.add(caller.project, grant)
        return grant, signed

    async def page(
        self,
        caller: Caller,
        name: str | None,
        *,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[KeptGrant]:
        """Those of a queue, or of all queues of the project, after a queue's name and an id."""
        self._allow(caller, name)
        limit = page_size(limit, MAX_GRANTS_PER_PAGE)
        return await self._grants.page(caller.project, name, after=after, limit=limit)

    async def get(self, caller: Caller, name: str, id_: str) -> KeptGrant:
        self._allow(caller, name)
        found = await self._grants.get(QueueRef(caller.project, name), id_)
        if found is None:
            raise NotFound("There is no kept URL of this id.")
        return found

    async def revoke(self, caller: Caller, name: str, id_: str) -> None:
        """From now on it is refused, everywhere; it need not be there."""
        self._allow(caller, name)
        await self._grants.remove(QueueRef(caller.project, name), id_)

    @property
    def _grants(self) -> GrantRecords:
        if self._kept is None:
            raise InvalidInput("The store of this server cannot keep URLs.")
        return self._kept

    def _allow(self, caller: Caller, name: str | None) -> None:
        allow(caller, "queues:share", None if name is None else QueueRef(caller.project, name))

    def _check(self, caller: Caller, name: str, terms: ShareTerms) -> None:
        """Whether this caller may give this away. No signature outlives what an operator wants."""
        queue = QueueRef(caller.project, name)
        allow(caller, "queues:share", queue)
        for action in _actions(terms.paths, terms.methods):
            allow(caller, action, queue)
        grant = caller.grant
        if grant is not None and (grant.max_body is not None or grant.max_batch is not None):
            raise NotAllowed("What you have shown is limited in ways that no URL can pass on.")
        ends = caller.expires_at
        if grant is not None and ends is not None and terms.expires_at > ends:
            raise NotAllowed("What you have shown ends before this URL would.")
        now = self._clock.now()
        if terms.expires_at <= now:
            raise InvalidInput("The value of expires must be in the future.")
        if terms.expires_at > after(now, self._rules.max_lifetime):
            raise InvalidInput(
                "The value of expires is too late: a URL is good for at most "
                f"{self._rules.max_lifetime // 1000} seconds."
            )

    def _check_narrowing(self, narrowing: Narrowing) -> None:
        if len(narrowing.note) > MAX_NOTE:
            raise InvalidInput(f"The value of note has more than {MAX_NOTE} characters.")
        for key, value, highest in (
            ("max_body", narrowing.max_body, self._limits.max_messages_post_size),
            ("max_batch", narrowing.max_batch, MAX_MESSAGES_PER_POST),
            ("uses", narrowing.uses, MAX_USES),
        ):
            if value is not None:
                check_range(key, value, 1, highest)
        if len(narrowing.networks) > MAX_NETWORKS:
            raise InvalidInput(f"The value of networks has more than {MAX_NETWORKS} items.")
        try:
            parse_networks(narrowing.networks)
        except ValueError as error:
            raise InvalidInput(f"The value of networks: {error}.") from None

    def _sign(self, caller: Caller, name: str, terms: ShareTerms, keep_as: str = "") -> SignedTerms:
        if self._rules.signer is None:
            raise InvalidInput(
                "This server has no signing key, so it makes no pre-signed URLs: nodes that share "
                "a store must be given the same one."
            )
        try:
            return self._rules.signer.sign(
                paths=tuple(f"/v2/queues/{name}/{path}" for path in terms.paths),
                methods=terms.methods,
                project=caller.project,
                expires_at=terms.expires_at,
                keep_as=keep_as,
            )
        except ValueError as error:
            raise InvalidInput(f"These terms cannot be signed: {error}.") from None


def _actions(paths: Collection[str], methods: Collection[str]) -> frozenset[str]:
    """What the terms would allow."""
    return frozenset().union(
        *(ACTIONS[path].get(method, ()) for path in paths for method in methods)
    )
