"""Which messages a subscription wants."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuska.domain.errors import InvalidInput
from nuska.domain.filters import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_RULES,
    MAX_TEXT,
    Examined,
    parse_filter,
)


def wants(rules: object, value: object, part: str = "body") -> bool:
    """Whether a filter with ``rules`` for a part of the message wants one with ``value`` there."""
    found = parse_filter({part: rules})
    assert found is not None
    text = json.dumps(value).encode()
    return found.matches(text) if part == "body" else found.matches(b"{}", text)


MATCHES = [
    ({"a": ["x"]}, {"a": "x"}),
    ({"a": ["x", "y"]}, {"a": "y", "b": 1}),
    ({"a": [1]}, {"a": 1.0}),
    ({"a": [1.5]}, {"a": 1.5}),
    ({"a": [True]}, {"a": True}),
    ({"a": [None]}, {"a": None}),
    ({"a": ["x"]}, {"a": ["w", "x"]}),
    ({"a": [{"prefix": "eu-"}]}, {"a": "eu-west"}),
    ({"a": [{"suffix": ".png"}]}, {"a": "1.png"}),
    ({"a": [{"equals-ignore-case": "YES"}]}, {"a": "yes"}),
    ({"a": [{"numeric": [">=", 0, "<", 100]}]}, {"a": 0}),
    ({"a": [{"numeric": ["=", 3]}]}, {"a": 3.0}),
    ({"a": [{"numeric": [">", 5]}, "many"]}, {"a": "many"}),
    ({"a": [{"exists": True}]}, {"a": None}),
    ({"a": [{"exists": True}]}, {"a": {"b": 1}}),
    ({"a": [{"exists": True}]}, {"a": []}),
    ({"a": [{"exists": False}]}, {}),
    ({"a": [{"exists": False}]}, [1]),
    ({"a": [{"exists": False}, "x"]}, {"a": "x"}),
    ({"a": {"b": [{"exists": False}]}}, {"c": 1}),
    ({"a": [{"anything-but": "x"}]}, {"a": "y"}),
    ({"a": [{"anything-but": ["x", 1]}]}, {"a": True}),
    ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": "yx"}),
    ({"a": [{"anything-but": "x"}]}, {"a": ["x", "y"]}),
    ({"a": {"b": {"c": ["x"]}}}, {"a": {"b": {"c": "x"}}}),
    ({"a": {"b": ["x"]}}, {"a": [{"b": "w"}, {"b": "x"}]}),
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"b": 2}),
    ({"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}, {"a": 1, "c": 3}),
    ({"a": {"$or": [{"b": [1]}, {"c": [1]}]}}, {"a": {"c": 1}}),
]

MISSES = [
    ({"a": ["x"]}, {"a": "X"}),
    ({"a": ["x"]}, {}),
    ({"a": ["x"]}, []),
    ({"a": ["x"]}, {"a": {"x": "x"}}),
    ({"a": ["1"]}, {"a": 1}),
    ({"a": [1]}, {"a": True}),
    ({"a": [True]}, {"a": 1}),
    ({"a": [0]}, {"a": False}),
    ({"a": ["x"], "b": [1]}, {"a": "x"}),
    ({"a": [{"prefix": "eu-"}]}, {"a": 1}),
    ({"a": [{"prefix": "eu-"}]}, {"a": "us-eu-"}),
    ({"a": [{"numeric": [">=", 0, "<", 100]}]}, {"a": 100}),
    ({"a": [{"numeric": [">", 0]}]}, {"a": "1"}),
    ({"a": [{"numeric": [">", 0]}]}, {"a": True}),
    ({"a": [{"exists": False}]}, {"a": None}),
    ({"a": [{"exists": True}]}, {}),
    ({"a": [{"anything-but": "x"}]}, {"a": "x"}),
    ({"a": [{"anything-but": "x"}]}, {}),
    ({"a": [{"anything-but": ["x", 1]}]}, {"a": 1.0}),
    ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": "xy"}),
    ({"a": [{"anything-but": "x"}]}, {"a": ["x"]}),
    ({"a": ["x"]}, {"a": []}),
    ({"a": {"b": ["x"]}}, {"a": "x"}),
    ({"a": {"b": ["x"]}}, {"a": []}),
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"a": 2, "b": 1}),
]


@pytest.mark.parametrize("part", ["body", "attributes"])
@pytest.mark.parametrize(("rules", "value"), MATCHES)
def test_a_message_that_fits_is_wanted(rules: object, value: object, part: str) -> None:
    assert wants(rules, value, part)


@pytest.mark.parametrize("part", ["body", "attributes"])
@pytest.mark.parametrize(("rules", "value"), MISSES)
def test_a_message_that_does_not_fit_is_not_wanted(rules: object, value: object, part: str) -> None:
    assert not wants(rules, value, part)


def test_body_and_attributes_must_both_fit() -> None:
    found = parse_filter({"body": {"a": [1]}, "attributes": {"b": [2]}})
    assert found is not None
    assert found.matches(b'{"a": 1}', b'{"b": 2}')
    assert not found.matches(b'{"a": 1}', b'{"b": 3}')
    assert not found.matches(b'{"a": 1}', None)


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_filter_that_says_nothing_wants_everything(nothing: object) -> None:
    assert parse_filter(nothing) is None


def nested(levels: int) -> dict[str, object]:
    rules: dict[str, object] = {"a": [1]}
    for _ in range(levels - 1):
        rules = {"a": rules}
    return rules


def test_a_filter_may_be_as_deep_and_as_long_as_its_limits() -> None:
    assert parse_filter({"body": nested(MAX_DEPTH)})
    assert parse_filter({"body": {"a": list(range(MAX_RULES))}})
    assert parse_filter({"body": {"a": ["x" * MAX_TEXT]}})


@pytest.mark.parametrize(
    "source",
    [
        [],
        "x",
        {"header": {"a": [1]}},
        {"body": {}},
        {"body": []},
        {"body": None},
        {"body": {"a": "x"}},
        {"body": {"a": []}},
        {"body": {"a": {}}},
        {"body": {"a": [[1]]}},
        {"body": {"a": [{}]}},
        {"body": {"a": [{"prefix": "x", "suffix": "y"}]}},
        {"body": {"a": [{"matches": "x.*"}]}},
        {"body": {"a": [{"prefix": 1}]}},
        {"body": {"a": [{"exists": "yes"}]}},
        {"body": {"a": [{"exists": True, "prefix": "x"}]}},
        {"body": {"a": [{"numeric": []}]}},
        {"body": {"a": [{"numeric": [">"]}]}},
        {"body": {"a": [{"numeric": [">", "1"]}]}},
        {"body": {"a": [{"numeric": [">", True]}]}},
        {"body": {"a": [{"numeric": ["!", 1]}]}},
        {"body": {"a": [{"numeric": [[], 1]}]}},
        {"body": {"a": [{"numeric": [">", 1, "<", 2, ">", 3, "<", 4]}]}},
        {"body": {"a": [{"anything-but": []}]}},
        {"body": {"a": [{"anything-but": {}}]}},
        {"body": {"a": [{"anything-but": {"numeric": ["=", 1]}}]}},
        {"body": {"a": [{"anything-but": [{"prefix": "x"}]}]}},
        {"body": {"$or": {}}},
        {"body": {"$or": []}},
        {"body": {"$or": [1]}},
        {"body": nested(MAX_DEPTH + 1)},
        {"body": {"a": list(range(MAX_RULES + 1))}},
        {"body": {"a": ["x" * (MAX_TEXT + 1)]}},
        {"body": {"x" * (MAX_TEXT + 1): ["x"]}},
        {"body": {str(n): ["x" * 1000] for n in range(20)}},
    ],
)
def test_what_is_no_filter_is_refused_in_a_short_sentence(source: object) -> None:
    with pytest.raises(InvalidInput, match="filter") as refused:
        parse_filter(source)
    assert len(refused.value.description) < 300


def test_filters_that_say_the_same_have_the_same_key() -> None:
    one = parse_filter({"body": {"a": [1], "b": [2]}, "attributes": {"c": [3]}})
    two = parse_filter({"attributes": {"c": [3]}, "body": {"b": [2], "a": [1]}})
    other = parse_filter({"attributes": {"c": [3]}, "body": {"b": [2], "a": [2]}})
    assert one is not None
    assert two is not None
    assert other is not None
    assert one.key == two.key != other.key


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["x", "xy", ""])
json_values = st.recursive(
    scalars | st.floats(-5, 5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
WORDS = ["a", "body", "attributes", "$or", "prefix", "numeric", "exists", "anything-but"]
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
    ),
)


@given(json_values, st.lists(scalars, min_size=1, max_size=3))
def test_for_what_is_present_and_no_array_equality_and_anything_but_are_opposites(
    value: object, values: list[object]
) -> None:
    if not isinstance(value, list):
        equal = wants({"a": values}, {"a": value})
        assert equal != wants({"a": [{"anything-but": values}]}, {"a": value})


@given(json_values)
def test_something_exists_or_it_does_not(value: object) -> None:
    there = wants({"a": [{"exists": True}]}, value)
    assert there != wants({"a": [{"exists": False}]}, value)
    assert there == (isinstance(value, dict) and "a" in value)


rules = st.dictionaries(
    st.sampled_from("abc"),
    st.lists(
        scalars
        | st.builds(lambda text: {"prefix": text}, st.sampled_from(["x", ""]))
        | st.builds(lambda number: {"numeric": ["<", number]}, st.integers(-5, 5))
        | st.builds(lambda yes: {"exists": yes}, st.booleans()),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=3,
)


@given(json_values, rules, rules)
def test_keys_are_and_and_alternatives_are_or(
    value: object, one: dict[str, object], two: dict[str, object]
) -> None:
    assert wants({"$or": [one, two]}, value) == (wants(one, value) or wants(two, value))
    assert wants(one, value) == all(wants({key: each}, value) for key, each in one.items())


@given(anything, json_values)
def test_whatever_is_posted_as_a_filter_is_refused_or_answers(
    source: object, value: object
) -> None:
    try:
        found = parse_filter(source)
    except InvalidInput:
        return
    if found is not None:
        assert found.matches(json.dumps(value).encode()) in (True, False)


def test_a_message_is_read_once_for_all_filters() -> None:
    message = Examined(b'{"a": 1}', b'{"b": 2}')
    assert message.part("body") is message.part("body")
    assert message.part("attributes") == {"b": 2}


def test_no_message_makes_a_filter_look_at_more_than_its_share() -> None:
    found = parse_filter({"body": {"a": {"b": [{"prefix": "x"}]}}})
    assert found is not None
    inner = [{"b": "y"}] * (MAX_ELEMENTS - 1)
    assert found.matches(json.dumps({"a": [*inner, {"b": "x"}]}).encode())
    assert not found.matches(json.dumps({"a": [*inner, {"b": "y"}, {"b": "x"}]}).encode())
    assert found.matches(b'{"a": {"b": "x"}}')
