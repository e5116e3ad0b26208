"""What a subscriber is sent for one message."""

import json

from hypothesis import given
from hypothesis import strategies as st

from nuska.domain.messages import Message
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId, Position
from nuska.domain.templates import (
    ascii_json,
    event_attributes,
    filled,
    payload,
    structured_event,
)

NOW = Moment(1_800_000_000_000)


def message(body: bytes, *, delay: int = 0, attributes: bytes | None = None) -> Message:
    return Message(
        id=MessageId("6a1f"),
        position=Position(7),
        body=body,
        ttl=Duration(900_000),
        created_at=NOW,
        expires_at=Moment(NOW + 900_000),
        available_at=Moment(NOW + delay * 1000),
        attributes=attributes,
    )


def test_the_document_begins_with_what_zaqar_sends() -> None:
    text = payload(message(b'{"job": 17}'), "jobs")
    assert text.startswith(
        '{"ttl": 900, "body": {"job": 17}, "Message_Type": "Notification", "queue_name": "jobs"'
    )
    assert json.loads(text) == {
        "ttl": 900,
        "body": {"job": 17},
        "Message_Type": "Notification",
        "queue_name": "jobs",
        "message_id": "6a1f",
    }


def test_a_delay_and_attributes_are_there_when_the_message_has_them() -> None:
    document = json.loads(payload(message(b"1", delay=5, attributes=b'{"a": "\xc3\xa9"}'), "jobs"))
    assert document["delay"] == 5
    assert document["attributes"] == {"a": "é"}


def test_beyond_ascii_everything_is_escaped() -> None:
    text = payload(message('"ü€😀"'.encode()), "jobs")
    assert '"body": "\\u00fc\\u20ac\\ud83d\\ude00"' in text


@given(st.recursive(st.text() | st.integers() | st.none(), st.lists))
def test_escaping_changes_nothing_that_a_reader_sees(value: object) -> None:
    text = ascii_json(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    assert text.isascii()
    assert json.loads(text) == value


def test_only_the_quoted_placeholder_is_replaced() -> None:
    template = (
        '{"input": "$zaqar_message$", "note": "see $zaqar_message$", "two":"$zaqar_message$"}'
    )
    assert json.loads(filled(template, '{"ttl": 1}')) == {
        "input": {"ttl": 1},
        "note": "see $zaqar_message$",
        "two": {"ttl": 1},
    }


def test_a_cloudevent_names_its_source_and_carries_the_body() -> None:
    event = json.loads(structured_event(message('"é"'.encode()), "jobs"))
    assert event == {
        "specversion": "1.0",
        "id": "6a1f",
        "source": "/v2/queues/jobs",
        "type": "nuska.message",
        "time": "2027-01-15T08:00:00Z",
        "datacontenttype": "application/json",
        "data": "é",
    }
    assert event_attributes(message(b"1"), "news", "topics")["source"] == "/v2/topics/news"
