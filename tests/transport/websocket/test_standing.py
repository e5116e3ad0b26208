"""Who speaks on a connection where that must be shown (contract websocket-v2 §4, S1, S2)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from nuska.core.access import Access
from nuska.core.sharing import SharingRules
from nuska.domain.moments import Moment, after, seconds
from nuska.domain.signing import SignedTerms, Signer
from nuska.interfaces.identity import Grant, Verified
from nuska.testing.clock import ManualClock
from nuska.testing.tokens import Tokens
from nuska.testing.websocket_client import Talk, talking

SIGNER = Signer("nuska-demo-secret")
MESSAGES = "/v2/queues/jobs/messages"


def known(clock: ManualClock) -> dict[str, Verified]:
    member = frozenset({"member"})
    return {
        "alice": Verified(project="acme", user="alice", roles=member),
        "reader": Verified(project="acme", roles=frozenset({"reader"})),
        "other": Verified(project="other", roles=member),
        "narrow": Verified(
            project="acme",
            roles=member,
            grant=Grant(id="k", actions=frozenset({"messages:create"}), queues=frozenset({"in"})),
        ),
        "listener": Verified(
            project="acme",
            roles=member,
            grant=Grant(
                id="l",
                actions=frozenset({"subscription:create", "queues:get_all"}),
                queues=frozenset({"a", "b"}),
                topics=frozenset({"news"}),
            ),
        ),
        "short": Verified(project="acme", roles=member, expires_at=after(clock.now(), seconds(60))),
    }


@pytest.fixture
async def guarded(serve: Any, clock: ManualClock) -> Any:
    return await serve(
        identity=Tokens(known(clock)),
        core={"access": Access(), "sharing": SharingRules(signer=SIGNER)},
    )


@pytest.fixture(params=[False, True], ids=["JSON", "MessagePack"])
async def talk(guarded: Any, request: pytest.FixtureRequest) -> AsyncIterator[Talk]:
    async with talking(guarded.ws, binary=request.param) as talk:
        yield talk


async def log_in(talk: Talk, token: str, project: str = "acme") -> Any:
    talk.headers["X-Project-ID"] = project
    return await talk.ask("authenticate", {"X-Auth-Token": token})


async def test_nothing_is_done_for_who_has_not_shown_who_it_is(talk: Talk) -> None:
    for action in ("queue_list", "queue_create", "message_post", "ping_node"):
        refused = await talk.ask(action, queue_name="jobs", messages=[{"body": 1}])
        assert (refused.status, refused.body) == (403, {"error": "Not authentified."})
    claims = {"X-Roles": "admin", "X-User-Id": "root", "X-Identity-Status": "Confirmed"}
    assert (await talk.ask("queue_list", claims)).status == 403
    # What is wrong with the request itself is said first.
    assert (await talk.ask("brew")).status == 400
    assert (await talk.ask("queue_get")).status == 400


async def test_a_token_opens_its_own_project_only(talk: Talk) -> None:
    shown = await log_in(talk, "alice")
    assert (shown.status, shown.body) == (200, {"message": "Authentified."})
    assert shown.document["request"] == {
        "action": "authenticate", "body": {}, "headers": {}, "api": "v2",
    }  # fmt: skip
    assert (await talk.ask("queue_create", queue_name="jobs")).status == 201
    talk.headers["X-Project-ID"] = "other"
    refused = await talk.ask("queue_list")
    assert (refused.status, refused.body) == (403, {"error": "Not authenticated."})
    talk.headers["X-Project-ID"] = "acme"
    assert (await talk.ask("queue_list")).status == 200


async def test_what_does_not_hold_is_refused_and_may_be_tried_again(talk: Talk) -> None:
    for token, project, status in (
        ("nobody", "acme", 401),
        ("other", "acme", 401),
        ("down", "acme", 503),
    ):
        refused = await log_in(talk, token, project)
        assert (refused.status, refused.body) == (status, {"error": "Authentication failed."})
    assert (await talk.ask("queue_list")).status == 403
    assert (await log_in(talk, "alice")).status == 200
    assert (await talk.ask("queue_list")).status == 200


@pytest.mark.parametrize(("token", "project"), [("other", "other"), ("reader", "acme")])
async def test_subscriptions_end_when_somebody_else_is_shown_on_the_connection(
    talk: Talk, guarded: Any, token: str, project: str
) -> None:
    await log_in(talk, "alice")
    options = {"detailed": True}
    subscribed = await talk.ask("subscription_create", queue_name="jobs", options=options)
    assert subscribed.status == 201
    assert (await log_in(talk, "alice")).status == 200
    assert guarded.core.live.listeners == 1, "the same may go on"
    assert (await log_in(talk, token, project)).status == 200
    ended = await talk.push()
    assert ended["subscription_id"] == subscribed.body["subscription_id"]
    assert guarded.core.live.listeners == 0


async def test_requests_sent_right_after_authenticate_wait_for_it(talk: Talk) -> None:
    await talk.send("authenticate", {"X-Auth-Token": "alice"})
    await talk.send("queue_list", id=1)
    await talk.send("queue_list")
    assert [(await talk.reply()).status for _ in range(3)] == [200, 200, 200]


async def test_an_api_key_will_do_and_its_limits_hold(talk: Talk) -> None:
    talk.headers["X-Project-ID"] = "acme"
    assert (await talk.ask("authenticate", {"X-Api-Key": "narrow"})).status == 200
    message = [{"body": 1}]
    assert (await talk.ask("message_post", queue_name="in", messages=message)).status == 201
    assert (await talk.ask("message_post", queue_name="out", messages=message)).status == 403
    assert (await talk.ask("message_list", queue_name="in")).status == 403
    assert (await talk.ask("subscription_create", queue_name="in")).status == 403
    assert (await talk.ask("subscription_create", queue_names=["in"])).status == 403


async def test_a_key_listens_to_the_queues_and_topics_that_it_names_and_to_no_others(
    talk: Talk,
) -> None:
    talk.headers["X-Project-ID"] = "acme"
    assert (await talk.ask("authenticate", {"X-Api-Key": "listener"})).status == 200
    for body, status in (
        ({"queue_name": "a"}, 201),
        ({"queue_name": "news"}, 403),
        ({"queue_names": ["b", "c"]}, 403),
        ({"queue_names": ["c", "b"]}, 403),
        ({"queue_names": ["b"]}, 201),
        ({"topic_name": "a"}, 403),
        ({"topic_name": "news"}, 201),
        ({"topic_name": "news", "queue_name": "c"}, 403),
        ({"topic_name": "c", "queue_names": ["b"]}, 403),
        ({"queue_names": []}, 403),
        ({}, 403),
    ):
        assert (await talk.ask("subscription_create", **body)).status == status, body
    assert (await talk.ask("queue_list", topic_name="news", queue_names=["a"])).status == 403


async def test_the_same_policy_holds_as_on_http(talk: Talk) -> None:
    await log_in(talk, "reader")
    assert (await talk.ask("queue_list")).status == 200
    refused = await talk.ask("queue_create", queue_name="jobs")
    assert refused.status == 403
    assert refused.body["title"] == "Not authorized"


async def test_a_connection_ends_with_what_was_shown_unless_it_was_renewed(
    guarded: Any, clock: ManualClock
) -> None:
    async with talking(guarded.ws) as ends, talking(guarded.ws) as stays:
        for talk in (ends, stays):
            assert (await log_in(talk, "short")).status == 200
        await ends.ask("subscription_create", queue_name="jobs")
        assert (await log_in(stays, "alice")).status == 200
        clock.advance(seconds=61)
        with pytest.raises(ConnectionClosed) as closed:
            await ends.next()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
            4003, "Authentication expired.",
        )  # fmt: skip
        assert (await stays.ask("queue_list")).status == 200
        assert guarded.core.live.listeners == 0


# Pre-signed requests


def sign(clock: ManualClock, *methods: str, path: str = MESSAGES, project: str = "acme") -> Any:
    until = Moment(clock.now() + 60_000)
    return SIGNER.sign(paths=(path,), methods=methods, project=project, expires_at=until)


def shown(terms: SignedTerms, **changed: Any) -> dict[str, Any]:
    return {
        "URL-Signature": terms.signature,
        "URL-Expires": terms.expires,
        "URL-Methods": list(terms.methods),
        "URL-Paths": list(terms.paths),
        "X-Project-ID": terms.project,
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }


async def test_a_signature_stands_for_what_it_names(talk: Talk, clock: ManualClock) -> None:
    headers = shown(sign(clock, "GET", "POST", "DELETE"))
    posted = await talk.ask("message_post", headers, queue_name="jobs", messages=[{"body": 1}])
    assert posted.status == 201
    [id_] = posted.body["message_ids"]
    listed = await talk.ask("message_list", headers, queue_name="jobs", echo=True)
    assert [message["id"] for message in listed.body["messages"]] == [id_]
    assert headers["URL-Signature"] not in str(listed.document)
    assert (await talk.ask("message_get", headers, queue_name="jobs", message_id=id_)).status == 200
    many = await talk.ask("message_get_many", headers, queue_name="jobs", message_ids=[id_])
    assert many.status == 200
    gone = await talk.ask("message_delete", headers, queue_name="jobs", message_id=id_)
    assert gone.status == 204
    popped = await talk.ask("message_delete_many", headers, queue_name="jobs", pop=1)
    assert popped.status == 200


async def test_a_signature_is_good_for_nothing_near_it(talk: Talk, clock: ManualClock) -> None:
    terms = sign(clock, "GET")
    body = {"queue_name": "jobs", "messages": [{"body": 1}], "message_id": "x", "claim_id": "x"}

    async def refused(action: str, headers: dict[str, Any], **more: Any) -> None:
        answered = await talk.ask(action, headers, **{**body, **more})
        assert (answered.status, answered.body) == (403, {"error": "Not authentified."})

    for action in (
        "message_post",
        "message_delete",
        "message_delete_many",
        "claim_create",
        "claim_get",
        "queue_get",
        "queue_get_stats",
        "queue_list",
        "subscription_list",
        "subscription_create",
    ):
        await refused(action, shown(terms))
    for other in ("jobs2", "job", "other", "jobs/messages"):
        await refused("message_list", shown(terms), queue_name=other)
    for changed in (
        {"URL_Signature": terms.signature[:-1] + "0"},
        {"URL_Signature": ""},
        {"URL_Signature": None},
        {"URL_Expires": "2099-01-01T00:00:00"},
        {"URL_Expires": 5},
        {"URL_Methods": ["GET", "POST"]},
        {"URL_Methods": "GET"},
        {"URL_Paths": ["/v2/queues"]},
        {"URL_Paths": MESSAGES},
        {"X_Project_ID": "other"},
    ):
        await refused("message_list", shown(terms, **changed))
    clock.advance(seconds=61)
    await refused("message_list", shown(terms))


async def test_a_bad_signature_is_refused_whatever_else_is_shown(
    talk: Talk, clock: ManualClock
) -> None:
    await log_in(talk, "alice")
    bad = shown(sign(clock, "GET"), URL_Signature="")
    assert (await talk.ask("message_list", bad, queue_name="jobs")).status == 403
    assert (await talk.ask("message_list", queue_name="jobs")).status == 200
