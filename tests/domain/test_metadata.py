"""Reserved metadata keys: what may be said, what it means, how a patch changes it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuska.domain.claims import DeadLetterRule
from nuska.domain.errors import Conflict, InvalidBody, InvalidInput
from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import (
    apply_patch,
    check_metadata,
    is_queue_name,
    is_relaxed,
    settings_of,
    with_defaults,
)
from nuska.domain.moments import seconds

LIMITS = Limits()
JOBS = QueueRef("acme", "jobs")
DEFAULTS = {
    "_max_messages_post_size": 262144,
    "_default_message_ttl": 3600,
    "_default_message_delay": 0,
    "_dead_letter_queue": None,
    "_dead_letter_queue_messages_ttl": None,
    "_max_claim_count": None,
    "_enable_encrypt_messages": False,
}

ALLOWED: list[tuple[str, object]] = [
    ("_max_messages_post_size", 1),
    ("_max_messages_post_size", 262144),
    ("_default_message_ttl", 60),
    ("_default_message_ttl", 1209600),
    ("_default_message_delay", 0),
    ("_default_message_delay", 900),
    ("_default_message_delay", True),
    ("_dead_letter_queue", "jobs-dead.1"),
    ("_dead_letter_queue_messages_ttl", 60),
    ("_max_claim_count", 0),
    ("_max_claim_count", -5),
    ("_enable_encrypt_messages", False),
    ("_enable_encrypt_messages", True),
    ("_flavor", "fast"),
    ("_retry_policy", {}),
    ("_retry_policy", {"minimum_delay": 5, "maximum_delay": 15, "unknown": []}),
    ("_retry_policy", {"retry_backoff_function": "geometric"}),
    ("_durability", "relaxed"),
    ("_durability", "full"),
    ("_unknown", {"anything": [1, None]}),
]
REFUSED: list[tuple[str, object]] = [
    ("_max_messages_post_size", 0),
    ("_max_messages_post_size", 262145),
    ("_max_messages_post_size", "1024"),
    ("_default_message_ttl", 59),
    ("_default_message_ttl", 1209601),
    ("_default_message_ttl", 60.0),
    ("_default_message_ttl", True),
    ("_default_message_delay", ""),
    ("_default_message_delay", []),
    ("_default_message_delay", {}),
    ("_default_message_delay", -1),
    ("_default_message_delay", 901),
    ("_dead_letter_queue", 5),
    ("_dead_letter_queue", ""),
    ("_dead_letter_queue", "a b"),
    ("_dead_letter_queue", "x" * 65),
    ("_dead_letter_queue_messages_ttl", 0),
    ("_max_claim_count", "2"),
    ("_max_claim_count", 1.5),
    ("_enable_encrypt_messages", 1),
    ("_enable_encrypt_messages", 0),
    ("_enable_encrypt_messages", "false"),
    ("_flavor", 3),
    ("_flavor", ""),
    ("_retry_policy", []),
    ("_retry_policy", "linear"),
    ("_retry_policy", {"retries_with_no_delay": "3"}),
    ("_retry_policy", {"minimum_delay_retries": -1}),
    ("_retry_policy", {"maximum_delay_retries": None}),
    ("_retry_policy", {"minimum_delay": 25}),
    ("_retry_policy", {"minimum_delay": 1, "maximum_delay": 10}),
    ("_retry_policy", {"retry_backoff_function": "random"}),
    ("_retry_policy", {"retry_backoff_function": []}),
    ("_retry_policy", {"ignore_subscription_override": "yes"}),
    ("_durability", "none"),
    ("_durability", True),
]


@pytest.mark.parametrize(("key", "value"), ALLOWED)
def test_what_the_table_allows_passes(key: str, value: object) -> None:
    check_metadata({key: value}, LIMITS)


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_everything_else_is_refused_by_the_name_of_its_key(key: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=key):
        check_metadata({key: value}, LIMITS)


def test_a_refused_number_names_its_limits() -> None:
    with pytest.raises(InvalidInput, match="from 60 to 1209600, not 59"):
        check_metadata({"_default_message_ttl": 59}, LIMITS)


@pytest.mark.parametrize("key", sorted({key for key, _ in ALLOWED}))
def test_null_means_unset_for_every_key(key: str) -> None:
    check_metadata({key: None}, LIMITS)


def test_readers_always_see_seven_keys() -> None:
    assert with_defaults({}, LIMITS) == DEFAULTS


def test_defaults_stand_in_for_absent_and_null_and_nothing_else() -> None:
    stored = {"_max_claim_count": 0, "_default_message_ttl": None, "team": "billing"}
    assert with_defaults(stored, LIMITS) == {**DEFAULTS, "_max_claim_count": 0, "team": "billing"}
    assert stored["_default_message_ttl"] is None


def test_defaults_are_those_of_the_server() -> None:
    limits = Limits(default_message_ttl=120, default_message_delay=9, max_messages_post_size=1000)
    seen = with_defaults({}, limits)
    assert (seen["_default_message_ttl"], seen["_default_message_delay"]) == (120, 9)
    assert seen["_max_messages_post_size"] == 1000


def test_settings_of_nothing_are_the_defaults_of_the_server() -> None:
    settings = settings_of(JOBS, {}, LIMITS)
    assert settings.default_ttl == seconds(3600)
    assert settings.default_delay == 0
    assert settings.max_post_size == 262144
    assert settings.dead_letters is None


def test_the_default_delay_of_the_server_makes_no_delay_queue() -> None:
    assert settings_of(JOBS, {}, Limits(default_message_delay=30)).default_delay == 0


def test_settings_never_exceed_limits_that_have_shrunk_since() -> None:
    stored = {
        "_default_message_ttl": 5000,
        "_default_message_delay": 500,
        "_max_messages_post_size": 5000,
    }
    shrunk = Limits(max_message_ttl=100, max_message_delay=10, max_messages_post_size=1000)
    settings = settings_of(JOBS, stored, shrunk)
    assert (settings.default_ttl, settings.default_delay) == (seconds(100), seconds(10))
    assert settings.max_post_size == 1000


@pytest.mark.parametrize(
    "metadata",
    [
        {"_max_claim_count": 2},
        {"_dead_letter_queue": "dead"},
        {"_max_claim_count": None, "_dead_letter_queue": None},
        {"_max_claim_count": 2, "_dead_letter_queue": None},
        {"_max_claim_count": None, "_dead_letter_queue": "dead"},
    ],
)
def test_dead_lettering_needs_both_keys(metadata: dict[str, Any]) -> None:
    assert settings_of(JOBS, metadata, LIMITS).dead_letters is None


def test_the_dead_letter_queue_is_in_the_same_project() -> None:
    metadata: dict[str, Any] = {"_max_claim_count": 0, "_dead_letter_queue": "dead"}
    metadata["_dead_letter_queue_messages_ttl"] = 90
    assert settings_of(JOBS, metadata, LIMITS).dead_letters == DeadLetterRule(
        max_claims=0, queue=QueueRef("acme", "dead"), ttl=seconds(90)
    )


def test_durability_is_lowered_by_name_only() -> None:
    assert is_relaxed({"_durability": "relaxed"})
    assert not any(is_relaxed({"_durability": other}) for other in ("full", None, True, "Relaxed"))


def patched(metadata: dict[str, object], *operations: object) -> dict[str, object]:
    return apply_patch(metadata, list(operations))


def add(key: str, value: object) -> dict[str, object]:
    return {"op": "add", "path": f"/metadata/{key}", "value": value}


def replace(key: str, value: object) -> dict[str, object]:
    return {"op": "replace", "path": f"/metadata/{key}", "value": value}


def remove(key: str) -> dict[str, object]:
    return {"op": "remove", "path": f"/metadata/{key}"}


def test_add_sets_and_overwrites() -> None:
    assert patched({"a": 1}, add("a", 2), add("b", None)) == {"a": 2, "b": None}


def test_operations_apply_in_order() -> None:
    assert patched({}, add("a", 1), replace("a", 2), remove("a")) == {}
    with pytest.raises(Conflict):
        patched({"a": 1}, remove("a"), replace("a", 2))


def test_an_empty_patch_changes_nothing() -> None:
    assert patched({"a": 1}) == {"a": 1}


def test_the_metadata_given_stays_as_it_is() -> None:
    metadata: dict[str, object] = {"a": 1}
    patched(metadata, add("b", 2))
    assert metadata == {"a": 1}


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_reserved_keys_can_be_replaced_and_removed_although_absent(key: str) -> None:
    assert patched({}, remove(key)) == {}
    assert patched({}, replace(key, None)) == {key: None}


@pytest.mark.parametrize("operation", [replace("a", 1), remove("a"), remove("_flavor")])
def test_an_absent_key_of_another_name_is_a_conflict(operation: object) -> None:
    with pytest.raises(Conflict):
        patched({}, operation)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/metadata/a", "a"),
        ("/METADATA/a", "a"),
        ("/metadata/a~1b", "a/b"),
        ("/metadata/a~0b", "a~b"),
        ("/metadata/~01", "~1"),
        ("/metadata/", ""),
    ],
)
def test_a_path_is_a_pointer_to_one_key(path: str, key: str) -> None:
    assert patched({}, {"op": "add", "path": path, "value": 1}) == {key: 1}


@pytest.mark.parametrize(
    "operation",
    [
        "add",
        None,
        [],
        {},
        {"op": "test", "path": "/metadata/a", "value": 1},
        {"op": "move", "path": "/metadata/a", "from": "/metadata/b"},
        {"op": ["add"], "path": "/metadata/a", "value": 1},
        {"op": "add", "path": "/metadata/a"},
        {"op": "replace", "path": "/metadata/_max_claim_count"},
        {"op": "add", "value": 1},
        {"op": "add", "path": 7, "value": 1},
        {"op": "add", "path": "/metadata", "value": 1},
        {"op": "add", "path": "/metadata/a/b", "value": 1},
        {"op": "add", "path": "metadata/a", "value": 1},
        {"op": "add", "path": "/other/a", "value": 1},
        {"op": "remove", "path": "/other/a"},
        {"op": "add", "path": "/metadata/a~2", "value": 1},
        {"op": "add", "path": "/metadata/a~", "value": 1},
    ],
)
def test_a_malformed_operation_is_refused_by_its_number(operation: object) -> None:
    with pytest.raises(InvalidBody, match="Operation 1 of the patch"):
        patched({}, add("a", 1), operation)


@pytest.mark.parametrize("document", [{}, {"op": "add"}, None, "x", 3])
def test_a_patch_is_an_array(document: object) -> None:
    with pytest.raises(InvalidBody, match="array"):
        apply_patch({}, document)


@given(st.text(max_size=6), st.integers())
def test_any_key_can_be_reached_by_escaping_it(key: str, value: int) -> None:
    escaped = key.replace("~", "~0").replace("/", "~1")
    assert patched({}, add(escaped, value)) == {key: value}


@given(st.text())
def test_a_queue_name_has_only_characters_of_the_contract(text: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
    assert is_queue_name(text) == (0 < len(text) <= 64 and set(text) <= allowed)
