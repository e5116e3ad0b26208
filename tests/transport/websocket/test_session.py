"""The conversation as a state machine: what starts when, and in which order replies go."""

import json
from typing import Any

import pytest

from nuska.transport.websocket.session import Session
from nuska.transport.websocket.standing import Standing
from nuska.transport.websocket.turns import Turn


class Line:
    """An outlet that notes what it is asked for."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []

    def flush(self) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def has_gone(self) -> bool:
        return False


@pytest.fixture
async def session() -> Session:
    nobody: Any = None
    return Session(Line(), nobody, "test", Standing(nobody, nobody, None), 100)


def request(action: str, id_: object = None, **body: object) -> bytes:
    headers = {"Client-ID": "0f8fad5b-d9cb-469f-a165-70867728950e", "X-Project-ID": "acme"}
    document = {"action": action, "headers": headers, "body": {"queue_name": "jobs", **body}}
    if id_ is not None:
        document["request_id"] = id_
    return json.dumps(document).encode()


def take(session: Session, *requests: bytes) -> list[Turn]:
    for one in requests:
        session.received(one, binary=False)
    return session.to_start()


def end(session: Session, turn: Turn, reply: bytes) -> list[bytes]:
    session.finished(turn, reply)
    return [answer.message for answer in session.to_send()]


LIST = request("message_list")
POST = request("message_post", messages=[{"body": 1}])


async def test_requests_are_carried_out_one_after_the_other(session: Session) -> None:
    [first] = take(session, LIST, LIST)
    assert session.to_start() == []
    assert end(session, first, b"1") == [b"1"]
    [second] = session.to_start()
    assert end(session, second, b"2") == [b"2"]
    assert session.in_flight == 0


async def test_posts_that_follow_each_other_are_carried_out_together_and_answered_in_order(
    session: Session,
) -> None:
    first, second = take(session, POST, POST, LIST)
    assert end(session, second, b"2") == []
    assert session.to_start() == []
    assert end(session, first, b"1") == [b"1", b"2"]
    [third] = session.to_start()
    assert third.action is not None
    assert third.action.name == "message_list"


async def test_a_post_waits_for_what_is_no_post(session: Session) -> None:
    [listing] = take(session, LIST, POST)
    end(session, listing, b"1")
    assert len(session.to_start()) == 1


async def test_requests_with_ids_go_side_by_side_and_are_answered_as_they_end(
    session: Session,
) -> None:
    turns = take(session, LIST, request("message_list", 7), request("claim_create", "x"))
    plain, seven, x = turns
    assert end(session, x, b"x") == [b"x"]
    assert end(session, seven, b"7") == [b"7"]
    assert end(session, plain, b"1") == [b"1"]


async def test_replies_weigh_from_when_they_may_go_until_they_are_sent(session: Session) -> None:
    first, second = take(session, POST, POST)
    session.finished(second, b"second")
    assert (session.ready_to_send, session.bytes_to_send) == (0, 0)  # it has to go after the first
    session.finished(first, b"first")
    assert (session.ready_to_send, session.bytes_to_send) == (2, len(b"firstsecond"))
    assert [answer.message for answer in session.to_send()] == [b"first", b"second"]
    assert (session.ready_to_send, session.bytes_to_send) == (0, 0)
    [aside] = take(session, request("message_list", id_=1))
    session.finished(aside, b"aside")
    assert session.bytes_to_send == len(b"aside")
    session.lost()
    assert (session.ready_to_send, session.bytes_to_send) == (0, 0)


async def test_everything_waits_for_who_is_asking(session: Session) -> None:
    authenticate = request("authenticate")
    [first] = take(session, authenticate, request("message_list", 1), LIST)
    assert session.to_start() == []
    end(session, first, b"ok")
    assert len(session.to_start()) == 2


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"{", "Can't decode text (JSON) request. InvalidBody"),
        (b"", "Can't decode text (JSON) request. InvalidBody"),
        (b'"a"', "Unexpected body type. Expected dict or dict like."),
        (b"[]", "Unexpected body type. Expected dict or dict like."),
        (b"1", "Unexpected body type. Expected dict or dict like."),
        (b"null", "Unexpected body type. Expected dict or dict like."),
        (b"{}", "None is not a valid action"),
        (b'{"action": 5}', "5 is not a valid action"),
        (b'{"action": "brew"}', "brew is not a valid action"),
        (b'{"action": "queue_list"}', "Schema validation failed."),
        (b'{"action": "queue_list", "headers": {"Client-ID": 1}}', "Schema validation failed."),
        (request("queue_get", queue_name=5), "Schema validation failed."),
        (request("queue_list", True), "Schema validation failed."),
        (request("queue_list", "x" * 65), "Schema validation failed."),
        (request("message_list", limit=1.5), "Schema validation failed."),
        (request("message_get_many", message_ids=["a", 1]), "Schema validation failed."),
    ],
)
async def test_a_request_that_is_none_is_refused_in_its_turn(
    session: Session, message: bytes, error: str
) -> None:
    waiting, refused = take(session, POST, message)
    assert refused.refusal is not None
    assert refused.refusal.status == 400
    assert json.loads(refused.refusal.body)["error"].startswith(error)
    assert end(session, refused, b"no") == []
    assert end(session, waiting, b"yes") == [b"yes", b"no"]


async def test_nothing_is_started_or_sent_when_the_connection_has_gone(session: Session) -> None:
    [first] = take(session, LIST, LIST)
    session.lost()
    assert session.to_start() == []
    assert session.has_in_hand == first.size, "the other is forgotten"
    assert end(session, first, b"1") == []
    assert session.has_in_hand == 0
