"""Who may do what."""

import pytest

from nuska.core.access import ADMIN, RULES, allow
from nuska.domain.errors import InvalidInput, NotAllowed
from nuska.domain.internal import internal, topic
from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.interfaces.identity import Caller
from nuska.transport.http.routes import routes_for

QUEUE = QueueRef("acme", "jobs")
ANYBODY = Caller("acme")
AN_ADMIN = Caller("acme", frozenset({ADMIN}))


@pytest.mark.parametrize("action", sorted(RULES))
def test_nobody_calls_himself_what_the_service_keeps_its_own_queues_under(action: str) -> None:
    for project in (
        internal("retries", QUEUE).project,
        topic("acme", "news").project,
        "a\n",
        "\x7f",
    ):
        with pytest.raises(InvalidInput, match="control characters"):
            allow(Caller(project, frozenset({ADMIN})), action)


@pytest.mark.parametrize("action", sorted(RULES))
def test_an_admin_may_do_everything(action: str) -> None:
    allow(AN_ADMIN, action)


OPERATORS_ONLY = {
    "health:get",
    "pools:get_all",
    "pools:create",
    "pools:get",
    "pools:update",
    "pools:delete",
    "flavors:create",
    "flavors:update",
    "flavors:delete",
    "encryption:get",
    "encryption:rotate",
    "encryption:erase",
    "encryption:rewrap",
    "keys:create",
    "keys:delete",
    "keys:get",
    "quotas:set",
    "keys:get_all",
}
"""Contract http-v2 §10, and the additions."""


@pytest.mark.parametrize("action", sorted(RULES))
def test_what_is_the_operators_asks_for_a_role(action: str) -> None:
    if action in OPERATORS_ONLY:
        with pytest.raises(NotAllowed, match="admin"):
            allow(ANYBODY, action)
    else:
        allow(ANYBODY, action)


def test_an_action_that_nobody_named_is_a_bug_and_no_permission() -> None:
    with pytest.raises(KeyError):
        allow(AN_ADMIN, "queues:burn")


def test_the_rules_name_what_the_routes_do_and_nothing_else() -> None:
    routes = routes_for(Limits(admin_mode=True, pooling=True))
    asked = {operation.action for route in routes for operation in route.operations}
    assert asked - {None} == RULES.keys()
