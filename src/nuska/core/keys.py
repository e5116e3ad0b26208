"""API keys that the service keeps itself: made, listed and revoked by a project's admins.

A key can do no more than the one who makes it, and never more than its project allows. Its
secret is in the answer to the call that makes it, and nowhere else, ever.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from nuska.core.access import RULES, allow
from nuska.core.key_records import KeyRecords
from nuska.core.ranges import page_size
from nuska.domain import keys as rules
from nuska.domain.errors import (
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Unavailable,
)
from nuska.domain.keys import Key
from nuska.domain.metadata import is_queue_name
from nuska.domain.moments import LAST_MOMENT, Moment, after, seconds
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller, Grant, Verified
from nuska.interfaces.storage import RandomBytes

MEMBER = "member"
ADMIN = "admin"
BELOW_ADMIN = frozenset({MEMBER, "reader"})
"""Roles that an admin has without being told so."""
MIN_TTL = 60
KEYS_PER_PAGE = 100
NOT_GOOD = "The key is not good, or not any more."
GRANT = "key:"
"""Before the id of a key, as the id of what it grants."""


class KeyDraft(Struct, frozen=True, kw_only=True):
    """A key as asked for: types checked."""

    name: str = ""
    roles: tuple[str, ...] = (MEMBER,)
    queues: tuple[str, ...] | None = None
    """Where these or ``topics`` are named, the key is good for nothing else."""
    topics: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    ttl: int | None = None

    def with_roles(self, roles: tuple[str, ...]) -> "KeyDraft":
        return replace(self, roles=roles)


class MadeKey(Struct, frozen=True):
    key: Key
    secret: str
    """The whole key as its holder sends it."""

    def __repr__(self) -> str:
        return f"MadeKey({self.key.id!r})"


class ShownKey(Struct, frozen=True):
    key: Key
    used_at: Moment | None


class KeyService:
    def __init__(self, records: KeyRecords | None, clock: Clock, random_bytes: RandomBytes) -> None:
        """``records``: None where the store cannot keep any."""
        self._opened = records
        self._clock = clock
        self._random_bytes = random_bytes
        self.revoked: list[Callable[[str], None]] = []
        """Told the id of a key that is good no more, on this node."""

    async def create(self, caller: Caller, draft: KeyDraft) -> MadeKey:
        allow(caller, "keys:create")
        roles = _roles(draft.roles)
        _check_not_more(caller, roles)
        _check_not_longer(caller, _end(draft.ttl, self._clock.now()))
        return await self.issue(caller.project, draft, by=caller.user)

    async def issue(self, project: str, draft: KeyDraft, *, by: str) -> MadeKey:
        """Make a key without asking who is allowed to: for an operator at the store itself."""
        records, now = self._records, self._clock.now()
        if await records.count(project, at_most=rules.MAX_KEYS) >= rules.MAX_KEYS:
            raise NotAllowed(
                f"The project has as many keys as it may have, {rules.MAX_KEYS}: revoke some."
            )
        id_ = self._random_bytes(rules.ID_BYTES).hex()
        secret = self._random_bytes(rules.SECRET_BYTES)
        key = Key(
            id=id_,
            digest=rules.digest(id_, secret),
            project=project,
            name=_name(draft.name),
            roles=_roles(draft.roles),
            queues=_names(draft.queues),
            topics=_names(draft.topics),
            actions=_actions(draft.actions),
            created_at=now,
            created_by=by,
            expires_at=_end(draft.ttl, now),
        )
        if not await records.add(key):
            raise Unavailable("The key could not be made.")
        return MadeKey(key, rules.written(id_, secret))

    async def page(
        self, caller: Caller, *, after: str = "", limit: int | None = None
    ) -> list[ShownKey]:
        """The project's keys by id, also those that have expired."""
        allow(caller, "keys:get_all")
        size = page_size(limit, KEYS_PER_PAGE)
        found = await self._records.page(caller.project, after=after, limit=size)
        return [ShownKey(key, await self._records.used(key)) for key in found]

    async def get(self, caller: Caller, id_: str) -> ShownKey:
        allow(caller, "keys:get")
        key = await self._known(caller.project, id_)
        return ShownKey(key, await self._records.used(key))

    async def revoke(self, caller: Caller, id_: str) -> None:
        """From now on the key is refused here, and elsewhere within seconds; one that is not
        there is no error."""
        allow(caller, "keys:delete")
        try:
            key = await self._known(caller.project, id_)
        except NotFound:
            return
        await self._records.remove(key)
        for tell in self.revoked:
            tell(id_)

    async def who(self, token: str) -> Verified:
        """Whose key it is. Raises ``NotAuthenticated`` or ``Unavailable``."""
        parsed = rules.parse(token)
        if parsed is None:
            raise NotAuthenticated(description=NOT_GOOD)
        id_, secret = parsed
        key = await self._records.get(id_)
        if key is None or not rules.is_of(key, secret):
            raise NotAuthenticated(description=NOT_GOOD)
        if key.expires_at is not None and key.expires_at <= self._clock.now():
            raise NotAuthenticated(description=NOT_GOOD)
        return Verified(
            project=key.project,
            user=f"{GRANT}{key.id}",
            roles=key.roles,
            grant=Grant(
                id=f"{GRANT}{key.id}",
                actions=key.actions,
                queues=key.queues,
                topics=key.topics,
            ),
            expires_at=key.expires_at,
        )

    async def is_still_good(self, grant: Grant) -> bool:
        """Whether the key that a caller has shown is still kept, if it was one: for connections
        that last. Its end is the caller's."""
        if not grant.id.startswith(GRANT):
            return True
        return await self._records.get(grant.id.removeprefix(GRANT)) is not None

    @property
    def _records(self) -> KeyRecords:
        if self._opened is None:
            raise Unavailable("This store cannot keep keys.")
        return self._opened

    async def _known(self, project: str, id_: str) -> Key:
        key = await self._records.of(project, id_) if rules.is_key_id(id_) else None
        if key is None:
            raise NotFound("There is no key of this id.")
        return key


def _check_not_more(caller: Caller, roles: frozenset[str]) -> None:
    """Nobody gives away what he has not."""
    grant = caller.grant
    limits = () if grant is None else (grant.actions, grant.queues, grant.topics)
    if any(limit is not None for limit in limits):
        raise NotAllowed("A credential that is limited itself makes no keys.")
    own = caller.roles | BELOW_ADMIN if ADMIN in caller.roles else caller.roles
    beyond = roles - own
    if beyond:
        raise NotAllowed(f"You cannot give a role that you have not: {', '.join(sorted(beyond))}.")


def _check_not_longer(caller: Caller, ends_at: Moment | None) -> None:
    """A key that ends makes none that outlives it. A token proves who somebody is, and may."""
    ends = caller.expires_at
    if caller.grant is not None and ends is not None and (ends_at is None or ends_at > ends):
        raise NotAllowed("A key that ends makes no key that outlives it: give a shorter ttl.")


def _name(name: str) -> str:
    if len(name) > rules.MAX_NAME or not name.isprintable():
        raise InvalidInput(
            f"The name of a key must be at most {rules.MAX_NAME} characters of text."
        )
    return name


def _roles(roles: tuple[str, ...]) -> frozenset[str]:
    found = frozenset(role.strip().lower() for role in roles)
    good = all(
        0 < len(role) <= rules.MAX_ROLE and role.isprintable() and "," not in role for role in found
    )
    if not found or len(found) > rules.MAX_ROLES or not good:
        raise InvalidInput(
            f"A key has from 1 to {rules.MAX_ROLES} roles, each a name of at most "
            f"{rules.MAX_ROLE} characters."
        )
    return found


def _names(names: tuple[str, ...] | None) -> frozenset[str] | None:
    if names is None:
        return None
    if not 0 < len(names) <= rules.MAX_QUEUES or not all(map(is_queue_name, names)):
        raise InvalidInput(
            f"A key is limited to 1 to {rules.MAX_QUEUES} queues or topics, each by its name."
        )
    return frozenset(names)


def _actions(actions: tuple[str, ...] | None) -> frozenset[str] | None:
    """``messages:*`` is short for all that begin so."""
    if actions is None:
        return None
    if not 0 < len(actions) <= rules.MAX_ACTIONS:
        raise InvalidInput(f"A key is limited to 1 to {rules.MAX_ACTIONS} actions.")
    found: set[str] = set()
    for action in actions:
        noun, _, verb = action.partition(":")
        named = {
            rule
            for rule in RULES
            if rule == action or (verb == "*" and rule.startswith(f"{noun}:"))
        }
        if not named:
            raise InvalidInput(
                "An action is named as in the table of permissions, such as messages:create, "
                "or all of a noun as in messages:*."
            )
        found |= named
    return frozenset(found)


def _end(ttl: int | None, now: Moment) -> Moment | None:
    if ttl is None:
        return None
    ends = after(now, seconds(ttl))
    if ttl < MIN_TTL or ends > LAST_MOMENT:
        raise InvalidInput(
            f"The value of ttl must be at least {MIN_TTL} seconds, and end before the year 10000."
        )
    return ends
