"""Who may do what: one table, asked by every transport.

The names are Zaqar's policies (contract http-v2 §10), what they say is in the language of
``domain/policy.py``, and an operator may say otherwise. A caller may do what the policy permits
his roles and, with a narrow credential, what that leaves of it: whichever denies, wins. Which
project's data a call reaches is not decided here: it is the caller's own, always, because a
``QueueRef`` is made from the caller.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache

from nuska.domain.errors import InvalidInput, NotAllowed
from nuska.domain.internal import can_be_callers, origin
from nuska.domain.messages import QueueRef
from nuska.domain.policy import CONTEXT_IS_ADMIN, Holder, PolicyError, Rules
from nuska.interfaces.identity import Caller, Grant, Verified

ANYONE = ""
"""Any caller that an identity has accepted."""
ADMIN = "admin"
MOST_SHOWN = 10
"""Names that a refusal lists of what a credential is good for."""
MAY_WRITE = "may_write"
WRITER = f"rule:{MAY_WRITE}"
OPERATOR = f"rule:{CONTEXT_IS_ADMIN}"

HELPERS: dict[str, str] = {
    CONTEXT_IS_ADMIN: f"role:{ADMIN}",
    "admin_or_owner": "is_admin:True or project_id:%(project_id)s",
    MAY_WRITE: f"role:member or role:{ADMIN} or not role:reader",
}
"""Rules that are no permissions. Whoever has no more than the role reader changes nothing; roles
that Keystone does not bring along (a deployment's own) are no narrower than before."""

RULES: dict[str, str] = {
    "queues:get_all": ANYONE,
    "queues:create": WRITER,
    "queues:get": ANYONE,
    "queues:delete": WRITER,
    "queues:update": WRITER,
    "queues:stats": ANYONE,
    "queues:share": WRITER,
    "queues:purge": WRITER,
    "messages:get_all": ANYONE,
    "messages:create": WRITER,
    "messages:get": ANYONE,
    "messages:delete": WRITER,
    "messages:delete_all": WRITER,
    "claims:create": WRITER,
    "claims:get": ANYONE,
    "claims:delete": WRITER,
    "claims:update": WRITER,
    "subscription:get_all": ANYONE,
    "subscription:create": WRITER,
    "subscription:get": ANYONE,
    "subscription:delete": WRITER,
    "subscription:update": WRITER,
    "subscription:confirm": WRITER,
    "topics:get_all": ANYONE,
    "topics:create": WRITER,
    "topics:get": ANYONE,
    "topics:delete": WRITER,
    "topics:update": WRITER,
    "topics:stats": ANYONE,
    "topics:purge": WRITER,
    "keys:get_all": OPERATOR,
    "keys:create": OPERATOR,
    "keys:get": OPERATOR,
    "keys:delete": OPERATOR,
    "quotas:get": ANYONE,
    "quotas:set": OPERATOR,
    "health:get": OPERATOR,
    "pools:get_all": OPERATOR,
    "pools:create": OPERATOR,
    "pools:get": OPERATOR,
    "pools:update": OPERATOR,
    "pools:delete": OPERATOR,
    "flavors:get_all": ANYONE,
    "flavors:create": OPERATOR,
    "flavors:get": ANYONE,
    "flavors:update": OPERATOR,
    "flavors:delete": OPERATOR,
    "encryption:get": OPERATOR,
    "encryption:rotate": OPERATOR,
    "encryption:erase": OPERATOR,
    "encryption:rewrap": OPERATOR,
}
"""What each permission asks for unless an operator says otherwise."""

PING = "ping:get"
"""A name that Zaqar's policies have. Here the ping says nothing about anybody, and is for all."""

DECISIONS_REMEMBERED = 1024
"""Of sets of roles, or of those in a project where the policy speaks of projects."""


class Access:
    """A policy, and the callers it makes of what was verified."""

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        """``overrides``: rules instead of, or beside, those above. Raises ``PolicyError``."""
        overrides = overrides or {}
        self.rules: dict[str, str] = {**HELPERS, **RULES, **overrides}
        self._parsed = Rules(self.rules)
        _check_purpose(overrides, self._parsed)
        self._for_bearers = frozenset(
            name for name in RULES if not self._parsed.permits_nobody(name)
        )
        self._by_project = self._parsed.mentions_projects()
        self._decided = lru_cache(maxsize=DECISIONS_REMEMBERED)(self._decide)

    def caller(self, verified: Verified, project: str, client: bytes) -> Caller:
        """Who sends a request. ``project`` is ``verified.project``, which must not be None."""
        grant = verified.grant
        return Caller(
            project,
            verified.roles,
            client,
            verified.user,
            grant,
            self._for_bearers
            if grant is not None and grant.delegated
            else self.permitted(verified.roles, project),
            verified.expires_at,
        )

    def permitted(self, roles: frozenset[str], project: str) -> frozenset[str]:
        """The names of what somebody with these roles may do."""
        return self._decided(roles, project if self._by_project else "")

    def _decide(self, roles: frozenset[str], project: str) -> frozenset[str]:
        holder = Holder(roles, project)
        return frozenset(name for name in RULES if self._parsed.permits(name, holder))


def _check_purpose(overrides: Mapping[str, str], rules: Rules) -> None:
    """A rule that decides nothing is one whose name was meant to be another."""
    known = RULES.keys() | HELPERS.keys()
    used = set().union(*map(rules.used, known | overrides.keys()))
    problems = []
    if overrides.get(PING, "@") not in ("", "@"):
        problems.append(f"{PING}: the ping is open to everybody, and cannot be closed")
    for name in overrides.keys() - known - {PING}:
        if ":" in name:
            problems.append(f"{name}: there is no such permission")
        elif name not in used:
            problems.append(f"{name}: no rule names this one, and it is no permission")
    if problems:
        raise PolicyError(sorted(problems))


DEFAULT = Access()


def allow(caller: Caller, action: str, queue: QueueRef | None = None) -> None:
    """Return if ``caller`` may do ``action``; else raise ``NotAllowed``.

    ``queue``: the queue or topic that it is about, if it is about one. Nobody may call himself
    what the service's own queues are kept under (``domain/internal.py``): ``InvalidInput``,
    whatever the action.
    """
    if not can_be_callers(caller.project):
        raise InvalidInput("The project's id must not contain control characters.")
    permitted = caller.permitted
    if permitted is None:
        permitted = DEFAULT.permitted(caller.roles, caller.project)
    if action not in permitted:
        if action not in RULES:
            raise KeyError(action)
        raise NotAllowed(f"You are not authorized to do this: {action} asks for {_asked(action)}.")
    grant = caller.grant
    if grant is not None:
        check_grant(grant, action, queue)


def _asked(action: str) -> str:
    """In words, as far as the default policy goes: an operator's own rules are not shown."""
    if RULES[action] == OPERATOR:
        return f"the role {ADMIN}, unless the operator says otherwise"
    return "a role that may do it"


def check_grant(grant: Grant, action: str, queue: QueueRef | None) -> None:
    """Return if the credential, too, is good for this; else raise ``NotAllowed``."""
    if grant.actions is not None and action not in grant.actions:
        raise NotAllowed(
            f"What you have shown is not good for {action}, but for {_listed(grant.actions)} only."
        )
    if grant.queues is None and grant.topics is None:
        return
    published = None if queue is None else origin(queue, "topics")
    names = grant.queues if published is None else grant.topics
    if queue is None or names is None or queue.name not in names:
        asked = f"; {action} is not about one of these" if queue is None else ""
        raise NotAllowed(f"What you have shown is good for {_places(grant)}{asked}.")


def _places(grant: Grant) -> str:
    """What the bearer could know from whoever gave him the credential; whether any of it exists
    is not looked at."""
    named = (("queue", grant.queues), ("topic", grant.topics))
    parts = [
        f"the {noun}{'s' if len(names) > 1 else ''} {_listed(names)}"
        for noun, names in named
        if names
    ]
    return f"{' and '.join(parts)} only" if parts else "no queue"


def _listed(names: Collection[str]) -> str:
    shown = sorted(names)[:MOST_SHOWN]
    more = len(names) - len(shown)
    return (", ".join(shown) or "nothing") + (f" and {more} more" if more else "")
