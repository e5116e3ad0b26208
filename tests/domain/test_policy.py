"""The language of rules."""

import pytest

from nuska.domain.policy import Holder, PolicyError, Rules

CASES = [
    ("", "nobody", True),
    ("@", "nobody", True),
    ("!", "admin", False),
    ("role:admin", "admin", True),
    ("role:Admin", "admin", True),
    ("role:admin", "member", False),
    ("not role:reader", "member", True),
    ("not role:reader", "reader", False),
    ("role:a or role:b and role:c", "a", True),
    ("role:a or role:b and role:c", "b", False),
    ("(role:a or role:b) and role:c", "a", False),
    ("(role:a or role:b) and role:c", "b,c", True),
    ("NOT (role:a OR role:b) AND role:c", "c", True),
    ("not not role:a", "a", True),
    ("((role:a))", "a", True),
    ("role:a and not role:b", "a,b", False),
    ("project_id:acme", "nobody", True),
    ("project_id:other", "nobody", False),
    ("project_id:%(project_id)s", "nobody", True),
    ("(project_id:%(project_id)s and role:a)", "a", True),
    ("rule:helper", "a", True),
    ("rule:helper", "b", False),
    ("is_admin:True", "admin", True),
    ("is_admin:False", "admin", False),
    ("is_admin:True or project_id:%(project_id)s", "nobody", True),
]
HELPERS = {"helper": "role:a", "context_is_admin": "role:admin"}


@pytest.mark.parametrize(("text", "roles", "expected"), CASES)
def test_a_rule_means_what_oslo_policy_says(text: str, roles: str, expected: bool) -> None:
    rules = Rules({**HELPERS, "it": text})
    holder = Holder(frozenset(roles.split(",")), "acme")
    assert rules.permits("it", holder) is expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("role:", "not known"),
        ("admin", "not known"),
        ("role:a role:b", "not expected"),
        ("role:a and", "missing"),
        ("and role:a", "not known"),
        ("(role:a", "not closed"),
        ("role:a)", "not expected"),
        ("()", "not known"),
        ("not", "missing"),
        ("http://example.net/check", "not known"),
        ("user_id:%(user_id)s", "not known"),
        ("project_id:%(tenant)s", "not known"),
        ("role:%(role)s", "not known"),
        ("system_scope:all", "not known"),
        ("[['role:a']]", "not known"),
        ("rule:nowhere", "no rule nowhere"),
        ("(" * 70 + "role:a" + ")" * 70, "too deeply"),
        ("not " * 100 + "role:a", "too deeply"),
        (" or ".join(["role:a"] * 200), "more than"),
    ],
)
def test_whatever_else_is_there_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason) as raised:
        Rules({**HELPERS, "it": text})
    assert raised.value.problems[0].startswith("it: ")


def test_rules_that_lead_back_to_themselves_are_an_error() -> None:
    with pytest.raises(PolicyError, match="back to itself"):
        Rules({"a": "rule:b", "b": "not rule:c", "c": "rule:b or @"})


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(PolicyError) as raised:
        Rules({"a": "x", "b": "role:", "c": "rule:d"})
    assert len(raised.value.problems) == 3


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("!", True),
        ("! and role:a", True),
        ("! or role:a", False),
        ("! or !", True),
        ("not @", True),
        ("not (role:a or @)", True),
        ("rule:none", True),
        ("role:a", False),
        ("", False),
    ],
)
def test_a_rule_that_permits_nobody_is_known_as_such(text: str, never: bool) -> None:
    assert Rules({"none": "!", "it": text}).permits_nobody("it") is never
