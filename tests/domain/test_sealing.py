"""Sealed bodies: opened by their key and project alone, and never mistaken for a client's."""

import json
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuska.domain.sealed import MARK, is_sealed, unmistakable
from nuska.domain.sealing import BadKey, Broken, DataKey, OperatorKeys, key_id_of
from nuska.testing.clock import seeded_bytes

KEY = bytes(range(32))
KEY_ID = "0123456789abcdef01234567"
OPERATOR = b64encode(KEY).decode()


def key(project: str = "acme", key_id: str = KEY_ID, raw: bytes = KEY) -> DataKey:
    return DataKey(project, key_id, raw)


@given(body=st.binary(max_size=300))
def test_what_is_sealed_is_opened_as_it_was(body: bytes) -> None:
    sealed = key().seal(body, seeded_bytes())
    assert is_sealed(sealed)
    assert key_id_of(sealed) == KEY_ID
    assert key().open(sealed) == body


def test_a_sealed_body_is_json_text_that_does_not_show_what_it_holds() -> None:
    sealed = key().seal(b'{"secret": "hunter2"}', seeded_bytes())
    assert isinstance(json.loads(sealed), str)
    assert b"hunter2" not in sealed
    assert sealed != key().seal(b'{"secret": "hunter2"}', seeded_bytes(1))


@pytest.mark.parametrize(
    "other",
    [key(project="other"), key(raw=bytes(32)), key(key_id="f" * 24)],
    ids=["project", "key", "key id"],
)
def test_no_other_project_key_or_key_id_opens_it(other: DataKey) -> None:
    with pytest.raises(Broken):
        other.open(key().seal(b'"hello"', seeded_bytes()))


@given(data=st.data())
def test_a_changed_bit_or_a_missing_end_is_noticed(data: st.DataObject) -> None:
    sealed = key().seal(b'{"a": 1}', seeded_bytes())
    place = data.draw(st.integers(len(MARK), len(sealed) - 2))
    other = data.draw(st.sampled_from(sorted(set(b"abcXYZ019-_\x00") - {sealed[place]})))
    changed = sealed[:place] + bytes([other]) + sealed[place + 1 :]
    cut = sealed[:place] + b'"'
    for wrong in (changed, cut, sealed[:place]):
        with pytest.raises(Broken):
            key().open(wrong)


def test_a_client_s_body_that_looks_sealed_is_stored_as_the_same_value_in_another_spelling() -> (
    None
):
    posted = MARK + b'anything"'
    stored = unmistakable(posted)
    assert not is_sealed(stored)
    assert json.loads(stored) == json.loads(posted)
    assert unmistakable(b'{"a": 1}') == b'{"a": 1}'


def test_a_data_key_is_unwrapped_for_its_own_name_only() -> None:
    keys = OperatorKeys([OPERATOR])
    wrapped = keys.wrap(KEY, "acme", KEY_ID, seeded_bytes())
    assert keys.unwrap(wrapped, "acme", KEY_ID) == KEY
    for project, key_id in (("other", KEY_ID), ("acme", "f" * 24)):
        with pytest.raises(Broken):
            keys.unwrap(wrapped, project, key_id)
    with pytest.raises(KeyError):
        OperatorKeys([b64encode(bytes(32)).decode()]).unwrap(wrapped, "acme", KEY_ID)


@pytest.mark.parametrize(
    "text", ["", "short", urlsafe_b64encode(b"\xff" * 32).decode(), b64encode(bytes(31)).decode()]
)
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(BadKey) as refused:
        OperatorKeys([OPERATOR, text])
    assert not text or text not in str(refused.value)
    assert OPERATOR not in str(refused.value)
