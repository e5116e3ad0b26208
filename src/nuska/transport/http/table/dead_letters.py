"""The rows about dead letters: additions to Zaqar's API."""

from nuska.core.redriving import MAX_DEAD_LETTERS
from nuska.transport.http import dead_letters
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.table.rows import MARKER, QUEUE_PATH, Operation, Route, limit

_DEAD_LETTERS = f"{QUEUE_PATH}/dead_letters"

DEAD_LETTERS = Route(
    _DEAD_LETTERS,
    (
        Operation(
            method="GET",
            handler=dead_letters.list_dead_letters,
            name="listDeadLetters",
            summary="Messages of the queue, and notifications of them, that got nowhere.",
            action="queues:get",
            query=(
                MARKER,
                limit(lambda _: MAX_DEAD_LETTERS),
                Parameter("reason", Kind.TEXT, "Only those with this in their reason."),
            ),
            answers={200: "DeadLetterList"},
        ),
    ),
    adds=True,
)

REDRIVE = Route(
    f"{_DEAD_LETTERS}/redrive",
    (
        Operation(
            method="POST",
            handler=dead_letters.redrive_dead_letters,
            name="redriveDeadLetters",
            summary="Send dead letters of the queue on their way again, some at a time.",
            action="queues:update",
            body="Redrive",
            answers={200: "Redriven"},
        ),
    ),
    adds=True,
)
