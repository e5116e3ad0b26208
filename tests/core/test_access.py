"""Who may do what."""

import pytest

from nuska.core.access import ADMIN, RULES, allow
from nuska.domain.errors import InvalidInput, NotAllowed
from nuska.domain.internal import internal, topic
from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.interfaces.identity import Caller, Grant
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


@pytest.mark.parametrize(
    ("grant", "action", "queue", "words"),
    [
        (
            Grant(queues=frozenset({"b", "a"})),
            "messages:create",
            QUEUE,
            "What you have shown is good for the queues a, b only.",
        ),
        (
            Grant(queues=frozenset({"a"}), topics=frozenset({"news"})),
            "messages:create",
            QUEUE,
            "What you have shown is good for the queue a and the topic news only.",
        ),
        (
            Grant(queues=frozenset({"jobs"})),
            "queues:get_all",
            None,
            "What you have shown is good for the queue jobs only; queues:get_all is not about one "
            "of these.",
        ),
        (
            Grant(queues=frozenset()),
            "messages:create",
            QUEUE,
            "What you have shown is good for no queue.",
        ),
        (
            Grant(actions=frozenset({"messages:get", "claims:create"})),
            "messages:create",
            QUEUE,
            "What you have shown is not good for messages:create, but for claims:create, "
            "messages:get only.",
        ),
        (
            Grant(queues=frozenset(f"q{number:02}" for number in range(13))),
            "messages:create",
            QUEUE,
            "What you have shown is good for the queues q00, q01, q02, q03, q04, q05, q06, q07, "
            "q08, q09 and 3 more only.",
        ),
    ],
)
def test_whoever_is_refused_for_a_narrow_credential_is_told_what_it_is_good_for(
    grant: Grant, action: str, queue: QueueRef | None, words: str
) -> None:
    with pytest.raises(NotAllowed) as refused:
        allow(Caller("acme", frozenset({"member"}), grant=grant), action, queue)
    assert refused.value.description == words
