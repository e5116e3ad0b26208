"""What stands around a request and its reply (contract websocket-v2 §3, §4)."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from nuska.testing.hostile_documents import (
    MALFORMED_JSON,
    WRONG_CLAIMS,
    WRONG_METADATA,
    WRONG_POSTS,
    WRONG_RENEWALS,
)
from nuska.testing.websocket_client import Talk, talking


@pytest.fixture
async def talk(served: Any) -> AsyncIterator[Talk]:
    async with talking(served.ws) as talk:
        yield talk


async def test_a_reply_repeats_its_request(talk: Talk) -> None:
    document = {
        "action": "queue_list",
        "headers": {**talk.headers, "X-Else": [1, {"a": 2.50}]},
        "body": {"limit": 2, "else": "ü"},
        "more": True,
    }
    await talk.send_document(document)
    reply = (await talk.reply()).document
    assert reply["request"] == {
        "action": "queue_list",
        "body": document["body"],
        "headers": document["headers"],
        "api": "v2",
    }
    assert reply["headers"] == {"status": 200}


async def test_what_is_secret_in_a_request_is_not_repeated(talk: Talk) -> None:
    secrets = {"X-Auth-Token": "s3cret", "x-service-token": "s3cret", "URL-Signatures": "s3cret"}
    reply = await talk.ask("queue_list", secrets)
    assert "s3cret" not in json.dumps(reply.document)
    assert reply.document["request"]["headers"]["X-Auth-Token"] == "***"
    key = "whsec_" + "c2VjcmV0" * 6
    made = await talk.ask(
        "subscription_create",
        queue_name="jobs",
        subscriber="http://example.org/",
        options={"signing_secrets": [key]},
    )
    assert key not in json.dumps(made.document)


async def test_a_request_with_an_id_gets_it_back_and_no_echo(talk: Talk) -> None:
    for id_ in (17, "seventeen", -(2**63), "x" * 64):
        await talk.send("queue_list", id=id_, limit=3)
        reply = (await talk.reply()).document
        assert reply["request_id"] == id_
        assert reply["request"] == {
            "action": "queue_list", "body": {}, "headers": {}, "api": "v2",
        }  # fmt: skip


async def test_each_reply_has_the_encoding_of_its_request(talk: Talk) -> None:
    for binary in (True, False, True):
        talk.binary = binary
        await talk.send("queue_list")
        message = await talk.connection.recv()
        assert isinstance(message, bytes if binary else str)


async def test_authenticate_is_answered_in_open_mode(talk: Talk) -> None:
    for token in ("abc", None, 5):
        reply = await talk.ask("authenticate", {"X-Auth-Token": token})
        assert (reply.status, reply.body) == (200, {"message": "Authentified."})
        assert reply.document["request"] == {
            "action": "authenticate", "body": {}, "headers": {}, "api": "v2",
        }  # fmt: skip


async def test_a_signature_that_does_not_verify_is_refused_even_an_empty_one(talk: Talk) -> None:
    for signature in ("", "0" * 64, 5, None):
        signed = {
            "URL-Signature": signature,
            "URL-Expires": "2031-03-04T05:06:07",
            "URL-Methods": ["GET"],
            "URL-Paths": ["/v2/queues/jobs/messages"],
        }
        for action in ("message_list", "queue_list"):
            reply = await talk.ask(action, signed, queue_name="jobs")
            assert (reply.status, reply.body) == (403, {"error": "Not authentified."})


async def test_the_syntax_of_a_client_id_counts_where_the_contract_says_so(talk: Talk) -> None:
    talk.headers["Client-ID"] = "nobody"
    assert (await talk.ask("message_list", queue_name="jobs")).status == 400
    post = await talk.ask("message_post", queue_name="jobs", messages=[{"body": 1}])
    assert post.status == 400
    assert (await talk.ask("queue_list")).status == 200
    assert (await talk.ask("claim_create", queue_name="jobs")).status == 204


@pytest.mark.parametrize("project", ["", "p" * 257, "a\x1fb", "a\nb"])
async def test_a_project_that_cannot_be_is_refused(talk: Talk, project: str) -> None:
    talk.headers["X-Project-ID"] = project
    assert (await talk.ask("queue_get", queue_name="jobs")).status == 400


async def test_projects_do_not_see_each_other(talk: Talk) -> None:
    await talk.ask("queue_create", queue_name="jobs")
    talk.headers["X-Project-ID"] = "other"
    assert (await talk.ask("queue_list")).body == {"queues": []}


# The hostile table of HTTP


def hostile() -> dict[str, str]:
    """Bodies of requests by a name, as texts that may be no JSON."""

    def with_queue(text: str) -> str:
        return text.replace("{", '{"queue_name": "jobs", ', 1).replace(", }", "}", 1)

    claim = f'"claim_id": "{"0" * 24}", '
    found = {f"message_post {name}": with_queue(text) for name, text in WRONG_POSTS.items()}
    found |= {
        f"message_post {name}": with_queue(text) if text.lstrip()[:1] == "{" else text
        for name, text in MALFORMED_JSON.items()
    }
    found |= {
        f"queue_create {name}": f'{{"queue_name": "jobs", "metadata": {text}}}'
        for name, text in WRONG_METADATA.items()
    }
    found |= {f"claim_create {name}": with_queue(text) for name, text in WRONG_CLAIMS.items()}
    found |= {
        f"claim_update {name}": with_queue(text.replace("{", "{" + claim, 1))
        for name, text in WRONG_RENEWALS.items()
    }
    # A WebSocket message has room for what HTTP refuses by its size alone.
    return {name: text for name, text in found.items() if "a body of 70 000 bytes" not in name}


HOSTILE = hostile()


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_request_gets_its_400_and_the_connection_stays(
    talk: Talk, name: str
) -> None:
    action = name.partition(" ")[0]
    headers = json.dumps(talk.headers)
    text = f'{{"action": "{action}", "headers": {headers}, "body": {HOSTILE[name]}}}'
    await talk.connection.send(text)
    assert (await talk.reply()).status == 400
    try:
        document = json.loads(text)
        packed = msgspec.msgpack.encode(document)
    except (ValueError, OverflowError, RecursionError):
        packed = b"\xc1" + text.encode()[:1000]  # what MessagePack cannot say, or never says
    await talk.connection.send(packed)
    reply = msgspec.msgpack.decode(await talk.connection.recv())
    assert reply["headers"]["status"] == 400
    assert (await talk.ask("queue_get", queue_name="jobs")).status == 200


@pytest.mark.parametrize("name", MALFORMED_JSON)
async def test_a_hostile_message_gets_its_400_and_the_connection_stays(
    talk: Talk, name: str
) -> None:
    await talk.connection.send(MALFORMED_JSON[name])
    reply = await talk.reply()
    assert reply.status == 400
    repeated = {"action": None, "body": {}, "headers": {}, "api": "v2"}
    unknown = reply.body["error"].endswith("is not a valid action")
    assert unknown or reply.document["request"] == repeated
    assert (await talk.ask("queue_get", queue_name="jobs")).status == 200


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x81",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x81\xa1a\xc4\x01b",
        b"\x81\x01\x01",
        b"\x81\xa1a\xcb\x7f\xf8\0\0\0\0\0\0",
        b"\x81\xa1a\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81\xa1a\xd6\xff\0\0\0\0",
        b"\xa1a",
        b"\x01",
    ],
)
async def test_hostile_messagepack_gets_its_400_and_the_connection_stays(
    talk: Talk, packed: bytes
) -> None:
    await talk.connection.send(packed)
    reply = msgspec.msgpack.decode(await talk.connection.recv())
    assert reply["headers"]["status"] == 400
    assert (await talk.ask("queue_get", queue_name="jobs")).status == 200


async def test_a_text_that_is_not_utf_8_is_refused(talk: Talk) -> None:
    await talk.connection.send(b'{"action": "\xff"}', text=True)
    assert (await talk.reply()).status == 400
