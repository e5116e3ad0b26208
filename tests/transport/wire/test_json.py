"""Strict JSON: what is taken is what every reader can read."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuska.domain.errors import InvalidBody
from nuska.transport.wire.json import (
    check_integers,
    decode_document,
    decode_object,
    depth_exceeds,
    encode,
)

FITS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
documents = st.recursive(
    st.none() | st.booleans() | FITS | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(documents, max_size=4) | st.dictionaries(st.text(), documents, max_size=4))
def test_every_proper_document_is_taken(document: object) -> None:
    assert decode_document(json.dumps(document).encode()) == document
    assert decode_document(json.dumps(document, ensure_ascii=False).encode()) == document


@given(documents, st.integers())
def test_an_integer_is_taken_if_it_has_64_bit_wherever_it_is(beside: object, integer: int) -> None:
    data = json.dumps({"beside": beside, "here": [{"deep": integer}]}).encode()
    if -(2**63) <= integer < 2**63:
        decode_document(data)
    else:
        with pytest.raises(InvalidBody, match="integer that is too large"):
            decode_document(data)


@pytest.mark.parametrize("integer", [2**63 - 1, -(2**63)])
def test_the_last_integers_that_fit(integer: int) -> None:
    assert decode_document(f"[{integer}]".encode()) == [integer]


@pytest.mark.parametrize(
    "integer",
    [str(2**63), str(-(2**63) - 1), str(2**64 - 1), str(2**64), "1" * 40, "-" + "1" * 9999],
)
def test_the_first_integers_that_do_not(integer: str) -> None:
    with pytest.raises(InvalidBody):
        decode_document(f"[{integer}]".encode())


def test_texts_and_floats_that_look_like_large_integers_are_not_mistaken() -> None:
    document = ["9" * 40, "κόσμε πρώτα", 1e300, 12345678901234567890.5, 1.7e308]
    assert decode_document(json.dumps(document, ensure_ascii=False).encode()) == document
    check_integers(document)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_hundred_levels_are_taken_and_no_more(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    decode_document(opening * 99 + b"[]" + closing * 99)
    with pytest.raises(InvalidBody, match="nested too deeply"):
        decode_document(opening * 100 + b"[]" + closing * 100)


def test_brackets_in_texts_do_not_count_as_depth() -> None:
    decode_document(json.dumps(["[" * 500]).encode())


@pytest.mark.parametrize(("depth", "exceeds"), [(1, False), (5, False), (6, True)])
def test_depth_counts_the_deepest_branch(depth: int, exceeds: bool) -> None:
    document: object = {"a": 1, "b": []} if depth > 1 else []
    for _ in range(depth - 2):
        document = [1, document, {}]
    assert depth_exceeds(document, 5) is exceeds


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"nul",
        b"NaN",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e400]",
        b"[01]",
        b"[1,]",
        b'{"a":}',
        b"{a: 1}",
        b"{'a': 1}",
        b"[1] [2]",
        b"\xef\xbb\xbf[]",
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
        b'["\xc0\xaf"]',
        b'["\\ud800"]',
        b'["\\udfff\\ud800"]',
        b'["\\x41"]',
        b'["\n"]',
        b"[1]\x00",
        "[1]".encode("utf-16"),
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"1",
        b'"text"',
        b"null",
        b"true",
    ],
)
def test_everything_else_could_not_be_parsed(data: bytes) -> None:
    with pytest.raises(InvalidBody):
        decode_document(data)


def test_a_scalar_is_refused_as_unparsable() -> None:
    with pytest.raises(InvalidBody, match="could not be parsed"):
        decode_document(b"3")


def test_the_last_of_duplicate_keys_wins() -> None:
    assert decode_object(b'{"a": 1, "a": 2}') == {"a": 2}


def test_answers_are_utf8_with_blanks_after_separators() -> None:
    assert encode({"a": ["é", 1], "b": None}) == '{"a": ["é", 1], "b": null}'.encode()
