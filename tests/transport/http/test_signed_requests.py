"""Whoever shows a signature: what it opens, and that nothing near it does (I20)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nuska.domain.signing import SignedTerms, Signer
from nuska.testing import signed_vectors as vectors
from nuska.testing.asgi import AsgiDriver, Reply
from nuska.testing.near_misses import CHANGES, PARTS, Change, near

from .signed import (
    BODY,
    FAR,
    KEY,
    NOT_FOUND,
    ORDERS,
    PROJECT,
    House,
    as_shared,
    headers_of,
    query_of,
)

OTHER_CLIENT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def house() -> House:
    return House()


async def ask(driver: AsgiDriver, *args: Any, **more: Any) -> tuple[int, Any]:
    reply = await driver.request(*args, **more)
    return reply.status, reply.json() if reply.body else None


async def test_messages_can_be_posted_read_and_taken(house: House) -> None:
    headers = headers_of(await house.share(methods=["GET", "POST", "DELETE"]))
    posted = await house.stranger.post(f"{ORDERS}/messages", BODY, headers=headers)
    assert posted.status == 201
    href = posted.json()["resources"][0]
    id_ = href.rpartition("/")[2]
    for target in (href, f"{ORDERS}/messages?echo=true", f"{ORDERS}/messages?ids={id_}"):
        assert (await house.stranger.get(target, headers=headers)).status == 200
    seen = await house.member.get(f"{ORDERS}/messages?echo=true")
    assert [message["body"] for message in seen.json()["messages"]] == [{"job": 17}]
    popped = await house.stranger.delete(f"{ORDERS}/messages?pop=1", headers=headers)
    assert popped.json()["messages"][0]["body"] == {"job": 17}


@pytest.mark.parametrize("way", ["headers", "link"])
async def test_the_vectors_of_the_contract_open_what_they_say(house: House, way: str) -> None:
    async def asked(shown: dict[str, Any], method: str, path: str, body: Any = None) -> Any:
        if way == "headers":
            return await ask(house.stranger, method, path, body, headers=headers_of(shown))
        return await ask(house.nobody, method, f"{path}?{query_of(shown)}", body)

    messages, claims = f"{ORDERS}/messages", f"{ORDERS}/claims"
    assert (await asked(vectors.READER, "GET", messages))[0] == 200
    assert await asked(vectors.READER, "POST", messages, BODY) == NOT_FOUND
    assert (await asked(vectors.WORKER, "POST", messages, BODY))[0] == 201
    status, taken = await asked(vectors.WORKER, "POST", claims, {})
    assert (status, len(taken["messages"])) == (201, 1)
    assert await asked(vectors.WORKER, "PUT", vectors.CONFIRM, {"confirmed": True}) == NOT_FOUND
    # A letter about a subscription that there is not is answered like a bad one.
    confirm = await asked(vectors.SUBSCRIBER, "PUT", vectors.CONFIRM, {"confirmed": True})
    assert confirm == NOT_FOUND
    terms = SignedTerms(
        **vectors.SUBSCRIBER | {"paths": (vectors.CONFIRM,), "methods": ("PUT",)},
    )
    assert house.core.desk.look_at(terms, method="PUT", path=vectors.CONFIRM)
    nobodys = await asked(vectors.OF_NO_PROJECT, "GET", messages)
    assert nobodys[0] in (400, 404), "no project, no call"


async def test_claims_need_their_own_path_and_messages_theirs(house: House) -> None:
    await house.member.post(f"{ORDERS}/messages", BODY)
    headers = headers_of(await house.share(paths=["claims"], methods=["POST", "PATCH", "DELETE"]))
    taken = await house.stranger.post(f"{ORDERS}/claims", {}, headers=headers)
    assert taken.status == 201
    claim, message = taken.headers["location"], taken.json()["messages"][0]["href"]
    assert await ask(house.stranger, "DELETE", message, headers=headers) == NOT_FOUND
    assert await ask(house.stranger, "GET", claim, headers=headers) == NOT_FOUND
    assert (await ask(house.stranger, "PATCH", claim, {}, headers=headers))[0] == 204
    assert (await ask(house.stranger, "DELETE", claim, headers=headers))[0] == 204


async def test_subscriptions_can_be_made_by_one(house: House) -> None:
    shared = await house.share(paths=["subscriptions"], methods=["GET", "POST", "DELETE"])
    headers = headers_of(shared)
    path = f"{ORDERS}/subscriptions"
    made = await house.stranger.post(
        path, {"subscriber": "https://example.net/in"}, headers=headers
    )
    assert made.status == 201
    one = f"{path}/{made.json()['subscription_id']}"
    assert (await house.stranger.get(one, headers=headers)).status == 200
    assert await ask(house.stranger, "PATCH", one, {"ttl": 100}, headers=headers) == NOT_FOUND
    for sub, method in (("attempts", "GET"), ("test", "POST"), ("replay", "POST")):
        found = await ask(house.stranger, method, f"{one}/{sub}", {}, headers=headers)
        assert found == NOT_FOUND, sub
    assert (await house.stranger.delete(one, headers=headers)).status == 204


async def test_nobody_posts_to_another_queue_by_a_subscription(house: House) -> None:
    headers = headers_of(await house.share(paths=["subscriptions"], methods=["POST", "PATCH"]))
    body = {"subscriber": "queue:payroll"}
    reply = await house.stranger.post(f"{ORDERS}/subscriptions", body, headers=headers)
    assert reply.status == 403
    assert (await house.member.get(f"{ORDERS}/subscriptions")).json()["subscriptions"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/stats"),
        ("POST", "/purge"),
        ("POST", "/share"),
        ("POST", "/grants"),
        ("GET", "/claims/1"),
        ("GET", "/subscriptions"),
        ("GET", "/dead_letters"),
    ],
)
async def test_nothing_else_of_the_queue_is_open(house: House, method: str, path: str) -> None:
    everything = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    shared = await house.share(methods=everything)
    for more, target in (
        ({"headers": headers_of(shared)}, f"{ORDERS}{path}"),
        ({}, f"{ORDERS}{path}?{query_of(shared)}"),
    ):
        assert await ask(house.stranger, method, target, {}, **more) == NOT_FOUND


@pytest.mark.parametrize("target", ["/v2/queues", "/v2/ping", "/v2/grants", "/v2/topics"])
async def test_what_is_about_no_queue_is_not_open_to_a_signature(house: House, target: str) -> None:
    headers = headers_of(await house.share())
    assert await ask(house.stranger, "GET", target, headers=headers) == NOT_FOUND


async def test_the_time_is_over_at_the_second_that_was_signed(house: House) -> None:
    headers = headers_of(await house.share(expires="2030-01-01T00:01:00"))
    house.clock.advance(milliseconds=59_999)
    assert (await house.stranger.get(f"{ORDERS}/messages", headers=headers)).status == 200
    house.clock.advance(milliseconds=1)
    assert await ask(house.stranger, "GET", f"{ORDERS}/messages", headers=headers) == NOT_FOUND


async def test_a_bad_signature_is_refused_whatever_else_is_shown(house: House) -> None:
    headers = {"URL-Signature": "", "X-Roles": "admin", "X-Auth-Token": "good"}
    for target in (f"{ORDERS}/messages", f"{ORDERS}/claims/1", ORDERS, "/v2/queues"):
        assert await ask(house.member, "GET", target, headers=headers) == NOT_FOUND
    target = f"{ORDERS}/messages?signature="
    assert await ask(house.member, "GET", target) == NOT_FOUND


async def test_both_ways_at_once_are_none(house: House) -> None:
    shared = await house.share()
    target = f"{ORDERS}/messages?{query_of(shared)}"
    assert (await ask(house.nobody, "GET", target))[0] == 200
    assert await ask(house.nobody, "GET", target, headers=headers_of(shared)) == NOT_FOUND
    twice = f"{target}&signature={shared['signature']}"
    assert await ask(house.nobody, "GET", twice) == NOT_FOUND


async def test_headers_that_say_who_one_is_change_nothing(house: House) -> None:
    shared = await house.share()
    await house.member.post(f"{ORDERS}/messages", BODY)
    claims = {"X-Roles": "admin", "X-Tenant-Id": "other", "X-User-Id": "root", "X_Roles": "admin"}
    for headers, target in (
        ({**headers_of(shared), **claims}, f"{ORDERS}/messages?echo=true"),
        (claims, f"{ORDERS}/messages?echo=true&{query_of(shared)}"),
    ):
        reply = await house.stranger.get(target, headers=headers)
        assert len(reply.json()["messages"]) == 1
        refused = await ask(house.stranger, "POST", f"{ORDERS}/messages", BODY, headers=headers)
        assert refused == NOT_FOUND or "signature" in target


async def test_a_link_needs_no_header_and_no_message_is_its_own(house: House) -> None:
    writer = await house.share(methods=["POST"])
    reader = await house.share(methods=["GET", "POST"])
    post = f"{ORDERS}/messages?{query_of(writer)}"
    assert (await house.nobody.post(post, BODY)).status == 201
    assert (await house.nobody.post(f"{ORDERS}/messages?{query_of(reader)}", BODY)).status == 201
    seen = await house.nobody.get(f"{ORDERS}/messages?{query_of(reader)}")
    assert (seen.status, len(seen.json()["messages"])) == (200, 2)
    assert shown_nowhere(reader["signature"], seen.body)
    # In headers Client-ID is needed as ever.
    assert (await house.nobody.get(f"{ORDERS}/messages", headers=headers_of(reader))).status == 400


def shown_nowhere(secret: str, body: bytes) -> bool:
    return secret.encode() not in body


async def test_a_client_id_beside_a_link_is_believed_and_checked(house: House) -> None:
    target = f"{ORDERS}/messages?{query_of(await house.share(methods=['GET', 'POST']))}"
    mine = {"Client-ID": OTHER_CLIENT}
    assert (await house.nobody.post(target, BODY, headers=mine)).status == 201
    assert (await house.nobody.get(target, headers=mine)).json()["messages"] == []
    assert (await house.nobody.get(target, headers={"Client-ID": "me"})).status == 400


async def test_what_zaqar_signed_with_the_key_is_good_here() -> None:
    former = House("an-older-key-of-ours", key="a-key-that-is-new")
    terms = Signer("an-older-key-of-ours").sign(
        paths=(f"{ORDERS}/messages",), methods=("GET",), project=PROJECT, expires_at=FAR
    )
    headers = headers_of(as_shared(terms))
    assert (await former.stranger.get(f"{ORDERS}/messages", headers=headers)).status == 200
    assert (
        await ask(
            House(key="another-key-of-theirs").stranger,
            "GET",
            f"{ORDERS}/messages",
            headers=headers,
        )
        == NOT_FOUND
    )


async def test_without_a_project_there_is_none_whoever_signed(house: House) -> None:
    terms = Signer(KEY).sign(
        paths=(f"{ORDERS}/messages",), methods=("GET",), project=None, expires_at=FAR
    )
    headers = {**headers_of(as_shared(terms)), "X-Project-Id": None}
    reply = await house.stranger.get(f"{ORDERS}/messages", headers=headers)
    assert (reply.status, reply.json()["title"]) == (400, "Project-Id Missing")


async def test_a_queue_whose_name_is_a_pattern_opens_itself_alone(house: House) -> None:
    headers = headers_of(await house.share(queue="a.b"))
    assert (await house.stranger.get("/v2/queues/a.b/messages", headers=headers)).status == 200
    for name in ("aXb", "a.bc", "xa.b", "A.B"):
        found = await ask(house.stranger, "GET", f"/v2/queues/{name}/messages", headers=headers)
        assert found == NOT_FOUND


HOUSE = House()
TERMS = {"paths": ["messages", "claims"], "methods": ["GET", "DELETE"]}
MADE: dict[str, dict[str, Any]] = {}
"""What is signed and what is kept besides, of the house."""


async def made(kind: str) -> dict[str, Any]:
    if kind not in MADE:
        make = HOUSE.share if kind == "share" else HOUSE.grant
        MADE[kind] = await make(**TERMS)
    return MADE[kind]


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(["share", "grant"]),
    st.sampled_from(PARTS),
    CHANGES,
    st.sampled_from(["headers", "link"]),
)
async def test_nothing_that_is_near_what_was_signed_is_good(
    kind: str, part: str, change: Change, way: str
) -> None:
    good = await made(kind)
    almost = near(good, part, change)
    if almost is None:
        return
    assert (await shown_by(good, way)).status == 200
    reply = await shown_by(almost, way)
    assert (reply.status, reply.json()) == NOT_FOUND


async def shown_by(shared: dict[str, Any], way: str) -> Reply:
    if way == "headers":
        return await HOUSE.stranger.get(f"{ORDERS}/messages", headers=headers_of(shared))
    return await HOUSE.nobody.get(f"{ORDERS}/messages?{query_of(shared)}")


NAMES = st.text("abo.rdes-_", min_size=1, max_size=8)
NOUNS = st.sampled_from(["messages", "claims", "subscriptions", "stats", "messagesx", "message"])


@settings(max_examples=300, deadline=None)
@given(NAMES, NOUNS, NAMES, NOUNS, st.sampled_from(["", "/", "/1", "/1/2", "x"]))
async def test_a_path_is_open_when_it_is_the_signed_one_or_below_it(
    name: str, noun: str, other: str, other_noun: str, tail: str
) -> None:
    signer = Signer(KEY)
    path = f"/v2/queues/{name}/{noun}"
    terms = signer.sign(paths=(path,), methods=("GET",), project=PROJECT, expires_at=FAR)
    target = f"/v2/queues/{other}/{other_noun}{tail}"
    admitted = HOUSE.core.desk.look_at(terms, method="GET", path=target)
    covered = target == path or target.startswith(f"{path}/")
    good_noun = noun in ("messages", "claims", "subscriptions")
    assert (admitted is not None) == (covered and good_noun)
