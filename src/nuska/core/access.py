"""Who may do what: one table, asked by every transport.

The names are Zaqar's policies (contract http-v2 §10). ``ANYONE`` means any caller that an
identity has accepted; everything else is a role. Which project's data a call reaches is not
decided here: it is the caller's own, always, because a ``QueueRef`` is made from the caller.
"""

import re

from nuska.domain.errors import InvalidInput, NotAllowed
from nuska.interfaces.identity import Caller

ANYONE = ""
ADMIN = "admin"

RULES: dict[str, str] = {
    "queues:get_all": ANYONE,
    "queues:create": ANYONE,
    "queues:get": ANYONE,
    "queues:delete": ANYONE,
    "queues:update": ANYONE,
    "queues:stats": ANYONE,
    "queues:share": ANYONE,
    "queues:purge": ANYONE,
    "messages:get_all": ANYONE,
    "messages:create": ANYONE,
    "messages:get": ANYONE,
    "messages:delete": ANYONE,
    "messages:delete_all": ANYONE,
    "claims:create": ANYONE,
    "claims:get": ANYONE,
    "claims:delete": ANYONE,
    "claims:update": ANYONE,
    "subscription:get_all": ANYONE,
    "subscription:create": ANYONE,
    "subscription:get": ANYONE,
    "subscription:delete": ANYONE,
    "subscription:update": ANYONE,
    "subscription:confirm": ANYONE,
    "topics:get_all": ANYONE,
    "topics:create": ANYONE,
    "topics:get": ANYONE,
    "topics:delete": ANYONE,
    "topics:update": ANYONE,
    "topics:stats": ANYONE,
    "topics:purge": ANYONE,
    "health:get": ADMIN,
    "pools:get_all": ADMIN,
    "pools:create": ADMIN,
    "pools:get": ADMIN,
    "pools:update": ADMIN,
    "pools:delete": ADMIN,
    "flavors:get_all": ANYONE,
    "flavors:create": ADMIN,
    "flavors:get": ANYONE,
    "flavors:update": ADMIN,
    "flavors:delete": ADMIN,
}


_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]").search


def allow(caller: Caller, action: str) -> None:
    """Return if ``caller`` may do ``action``; else raise ``NotAllowed``.

    Nobody may call himself what the service's own queues are kept under (``domain/internal.py``):
    ``InvalidInput``, whatever the action.
    """
    if _CONTROL_CHARACTER(caller.project):
        raise InvalidInput("The project's id must not contain control characters.")
    role = RULES[action]
    if role and role not in caller.roles:
        raise NotAllowed(f"You are not authorized to do this: it needs the role {role}.")
