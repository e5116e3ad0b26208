"""An operator's policy file, and what becomes of callers by it."""

from pathlib import Path

import pytest

from nuska.core.access import RULES, Access, allow
from nuska.domain.errors import NotAllowed
from nuska.domain.messages import QueueRef
from nuska.domain.policy import PolicyError
from nuska.interfaces.identity import Grant, Verified
from nuska.permitting import access_by, parse_policy

ORDERS, OTHER = QueueRef("acme", "orders"), QueueRef("acme", "other")


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return str(path)


def may(access: Access, action: str, *roles: str, project: str = "acme") -> bool:
    caller = access.caller(Verified(project=project, roles=frozenset(roles)), project, b"")
    try:
        allow(caller, action, ORDERS)
    except NotAllowed:
        return False
    return True


def test_without_a_file_the_default_policy_decides() -> None:
    access = access_by("")
    reads = {name for name in RULES if may(access, name, "reader")}
    assert all(name.split(":")[1].startswith(("get", "stats")) for name in reads)
    assert {name for name in RULES if may(access, name)} >= reads
    assert all(may(access, name, "admin") for name in RULES)
    for role in ("member", "_member_", "heat_stack_owner"):
        assert may(access, "messages:create", role)
        assert not may(access, "pools:create", role)
    assert may(access, "messages:create", "reader", "member")


def test_rules_of_a_file_take_the_place_of_others(tmp_path: Path) -> None:
    access = access_by(
        written(
            tmp_path,
            """
            # only writers write
            "writer": "role:writer or rule:context_is_admin"
            "messages:create": "rule:writer"
            'messages:delete': '!'
            queues:delete: "role:admin or project_id:trusted"
            "ping:get": "@"
            """,
        )
    )
    assert may(access, "messages:create", "writer")
    assert not may(access, "messages:create", "member")
    assert not may(access, "messages:delete", "admin")
    assert may(access, "queues:delete", project="trusted")
    assert not may(access, "queues:delete")
    assert may(access, "claims:create", "member")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert access_by(written(tmp_path, "# nothing yet\n")).rules == Access().rules


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"queues:creat": "role:member"', "no such permission"),
        ('"helper": "role:member"', "no rule names this one"),
        ('"queues:create": "rule:helper"', "no rule helper"),
        ('"queues:create": "role member"', "not known"),
        ('"queues:create": !', "in quotes"),
        ('"queues:create": true', "in quotes"),
        ('"queues:create": [["role:member"]]', "in quotes"),
        ('"queues:create": null', "in quotes"),
        ('"queues:create": "@"\n"queues:create": "!"', "twice"),
        ('1: "@"', "must be a text"),
        ("- role:member", "must have lines"),
        ("just text", "must have lines"),
        ('"queues:create": "role:member', "as YAML"),
        ("a: &a [*a]", "in quotes"),
        ('!!python/object/apply:os.system ["true"]', "must have lines"),
        ("a: b\n---\nc: d", "as YAML"),
        ('"ping:get": "role:admin"', "cannot be closed"),
        ("[" * 5000, "as YAML"),
    ],
)
def test_a_file_with_a_mistake_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        access_by(written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        access_by(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "p").write_bytes(b"\xff")
    with pytest.raises(PolicyError, match="UTF-8"):
        access_by(str(tmp_path / "p"))
    (tmp_path / "p").write_bytes(b"#" * 1_048_577)
    with pytest.raises(PolicyError, match="larger"):
        access_by(str(tmp_path / "p"))


def test_a_text_is_a_text_whatever_its_quotes() -> None:
    assert parse_policy("queues:create: role:member\n", "x") == {"queues:create": "role:member"}


def narrow(access: Access, *roles: str, **grant: object) -> Verified:
    return Verified(project="acme", roles=frozenset(roles), grant=Grant(**grant))


@pytest.mark.parametrize(
    ("verified", "action", "queue", "allowed"),
    [
        # A key: both its roles and what it is narrowed to must agree.
        (("member", {"actions": frozenset({"messages:create"})}), "messages:create", ORDERS, True),
        (("reader", {"actions": frozenset({"messages:create"})}), "messages:create", ORDERS, False),
        (("admin", {"actions": frozenset({"messages:get"})}), "messages:create", ORDERS, False),
        (("admin", {"queues": frozenset({"orders"})}), "messages:create", ORDERS, True),
        (("admin", {"queues": frozenset({"orders"})}), "messages:create", OTHER, False),
        (("admin", {"queues": frozenset({"orders"})}), "queues:get_all", None, False),
        (("admin", {"queues": frozenset({"orders"})}), "pools:create", None, False),
        (("admin", {"topics": frozenset({"orders"})}), "messages:create", ORDERS, False),
        # A signature: whoever made it was asked for his roles.
        (("", {"actions": frozenset({"queues:delete"}), "delegated": True}), "queues:delete",
         ORDERS, True),
        (("", {"actions": frozenset({"messages:delete"}), "delegated": True}), "messages:delete",
         ORDERS, False),
    ],
)  # fmt: skip
def test_whichever_denies_wins(
    verified: tuple[str, dict[str, object]], action: str, queue: QueueRef | None, allowed: bool
) -> None:
    access = Access({"queues:delete": "role:admin", "messages:delete": "!"})
    role, grant = verified
    caller = access.caller(narrow(access, role, **grant), "acme", b"")
    if allowed:
        allow(caller, action, queue)
    else:
        with pytest.raises(NotAllowed):
            allow(caller, action, queue)
