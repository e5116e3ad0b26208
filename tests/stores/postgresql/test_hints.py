"""What nodes tell each other fits into what the server carries."""

import msgspec
import pytest

from nuska.domain.messages import QueueRef
from nuska.stores.sql.hints import QUEUES_AT_ONCE, Hint, packed

SERVER_TAKES = 8_000
NODE = "0123456789ab"


def told(queues: dict[QueueRef, int]) -> list[Hint]:
    payloads = packed(NODE, queues)
    assert all(len(payload.encode()) < SERVER_TAKES for payload in payloads)
    assert all(payload.isascii() for payload in payloads)
    return [msgspec.json.decode(payload, type=Hint) for payload in payloads]


@pytest.mark.parametrize("name", ["inbox", "ü" * 64, "\U0001f600" * 64, 'a"\\\0b'])
@pytest.mark.parametrize("count", [1, 2, 500, QUEUES_AT_ONCE])
def test_every_queue_is_told_of_once(name: str, count: int) -> None:
    queues = {QueueRef(f"acme{number}", name): number + 1 for number in range(count)}
    hints = told(queues)
    assert all(hint.node == NODE and hint.queues for hint in hints)
    heard = [(QueueRef(project, name), n) for hint in hints for project, name, n in hint.queues]
    assert heard == list(queues.items())


@pytest.mark.parametrize(
    "queues",
    [
        {QueueRef("acme", str(number)): 1 for number in range(QUEUES_AT_ONCE + 1)},
        {QueueRef("acme", "short"): 1, QueueRef("acme", "long" * SERVER_TAKES): 1},
    ],
    ids=["many", "long"],
)
def test_too_much_to_say_is_one_hint_for_everybody(queues: dict[QueueRef, int]) -> None:
    assert told(queues) == [Hint(NODE, [])]
