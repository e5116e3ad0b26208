"""Messages for readers who have no addresses: each with what is its own."""

import json
import random
from typing import Any

import pytest

from nuska.domain.messages import Message
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position, message_id
from nuska.transport.wire.messages import encode_bare_messages

NOW = Moment(1_000_000)


def some_message(dice: random.Random) -> Message:
    created = Moment(NOW - dice.choice([0, 999, 1_000, 61_500]))
    position = Position(dice.randrange(2**50))
    return Message(
        id=message_id(position, dice.randbytes(4)),
        position=position,
        body=dice.choice([b"1", b'"\xc3\xbc"', b'{"a": [1, 2]}', b"null"]),
        ttl=Duration(dice.choice([60_000, 300_000])),
        created_at=created,
        expires_at=Moment(NOW + 60_000),
        available_at=created,
        claim_id=dice.choice([None, "a" * 24, "b" * 24]),
        claim_count=dice.randrange(3),
        poster=b"",
        attributes=dice.choice([None, b'{"k": 1}']),
        dead=None,
    )


def expected(message: Message, *, claimed: bool) -> dict[str, Any]:
    return {
        "id": message.id,
        "claim_id": message.claim_id if claimed else None,
        "ttl": message.ttl // 1000,
        "age": (NOW - message.created_at) // 1000,
        "body": json.loads(message.body),
    }


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_each_message_shows_what_is_its_own(count: int, claimed: bool) -> None:
    dice = random.Random(count)
    messages = [some_message(dice) for _ in range(count)]
    messages = [one for one in messages for _ in range(dice.randint(1, 3))]  # some are alike
    text = encode_bare_messages(messages, NOW, claimed=claimed)
    shown = json.loads(b"[" + text + b"]")
    assert shown == [expected(one, claimed=claimed) for one in messages]
    assert [list(one) for one in shown] == [["id", "claim_id", "ttl", "age", "body"]] * len(shown)
