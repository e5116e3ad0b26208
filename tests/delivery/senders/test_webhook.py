"""Webhooks against a receiver that fails in every way, under the real clock."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from nuska.delivery.senders.names import Addresses
from nuska.delivery.senders.webhook import USER_AGENT
from nuska.domain.egress import EgressPolicy, parse_networks
from nuska.domain.internal import topic
from nuska.domain.moments import seconds
from nuska.domain.webhooks import parse_secret, refusal
from nuska.interfaces.notifications import MAX_ERROR, ConfirmationRequest, Outcome
from nuska.testing.certificates import certificate
from nuska.testing.clock import ManualClock
from nuska.testing.receiver import Receiver, receiver, refusing_port, unaccepting_port

from .conftest import CONNECT, TOTAL, Notify, Webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LATE = 8.0
"""Seconds beyond its limit that a busy machine may add."""


@pytest.fixture
async def hooks() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


async def test_a_message_arrives_as_zaqar_sends_it(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    async with webhooks() as sender:
        outcome = await sender.send(notify(hooks.url(), body='{"a": "é"}'.encode()))
    assert outcome.ok
    assert outcome.status == 200
    assert outcome.error is None
    [request] = hooks.requests
    assert request.method == "POST"
    assert request.body.isascii()
    assert json.loads(request.body) == {
        "ttl": 900,
        "body": {"a": "é"},
        "Message_Type": "Notification",
        "queue_name": "jobs",
        "message_id": "m1",
    }
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == USER_AGENT
    assert request.headers["content-length"] == str(len(request.body))
    assert not {"webhook-signature", "cookie", "authorization"} & request.headers.keys()


async def test_post_data_and_headers_of_the_subscription_are_sent(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    options = {
        "post_data": '{"input": "$zaqar_message$"}',
        "post_headers": {"X-Source": "queue", "content-type": "text/x", "User-Agent": "me"},
    }
    async with webhooks() as sender:
        assert (await sender.send(notify(hooks.url(), **options))).ok
    [request] = hooks.requests
    assert json.loads(request.body)["input"]["body"] == {"job": 17}
    headers = {"x-source": "queue", "content-type": "text/x", "user-agent": "me"}
    assert headers.items() <= request.headers.items()


async def test_a_connection_is_used_again(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    async with webhooks() as sender:
        for path in ("/ok", "/status/500", "/ok", "/status/204", "/ok"):
            await sender.send(notify(hooks.url(path)))
    assert hooks.count == 5
    assert hooks.connections == 1


# What an answer means


@pytest.mark.parametrize(
    ("status", "ok", "permanent", "gone"),
    [
        (200, True, False, False),
        (204, True, False, False),
        (302, False, True, False),
        (304, False, True, False),
        (400, False, True, False),
        (401, False, True, False),
        (404, False, True, False),
        (408, False, False, False),
        (410, False, True, True),
        (425, False, False, False),
        (429, False, False, False),
        (500, False, False, False),
        (503, False, False, False),
    ],
)
async def test_an_answer_says_whether_to_try_again(
    hooks: Receiver,
    webhooks: Webhooks,
    notify: Notify,
    status: int,
    ok: bool,
    permanent: bool,
    gone: bool,
) -> None:
    async with webhooks() as sender:
        outcome = await sender.send(notify(hooks.url(f"/status/{status}")))
    assert (outcome.ok, outcome.permanent, outcome.gone) == (ok, permanent, gone)
    assert outcome.status == status
    assert ok or str(status) in (outcome.error or "")


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", 7),
        ("0", 0),
        ("999999999", 3600),
        ("9" * 40, 3600),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Fri, 15 Jan 2100 07:00:00 GMT", 3600),
        ("soon", None),
        ("-1", None),
        ("Fri, 99 Jan 2027 08:00:30 GMT", None),
    ],
)
async def test_a_subscriber_may_ask_for_patience(
    hooks: Receiver, webhooks: Webhooks, notify: Notify, value: str, wait: int | None
) -> None:
    target = f"/status/503?retry-after={value.replace(' ', '%20')}"
    async with webhooks() as sender:
        outcome = await sender.send(notify(hooks.url(target)))
    assert outcome.retry_after == (None if wait is None else seconds(wait))


# What can go wrong


async def timed(sending: Awaitable[Outcome], limit: float) -> Outcome:
    started = time.monotonic()
    outcome = await sending
    assert time.monotonic() - started < limit + LATE
    return outcome


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/hang", "did not answer within"),
        ("/hang-after-headers", "did not answer within"),
        ("/drip", "did not answer within"),
        ("/reset", "closed the connection"),
        ("/close", "closed the connection"),
        ("/nonsense", "not HTTP"),
        ("/huge-head", "not HTTP"),
    ],
)
async def test_a_failing_receiver_costs_one_limited_attempt_worth_another(
    hooks: Receiver, webhooks: Webhooks, notify: Notify, path: str, words: str
) -> None:
    async with webhooks() as sender:
        outcome = await timed(sender.send(notify(hooks.url(path))), TOTAL)
        assert not outcome.ok
        assert not outcome.permanent
        assert outcome.status is None
        assert words in (outcome.error or "")
        assert (await sender.send(notify(hooks.url()))).ok


@pytest.mark.parametrize("path", ["/huge", "/drip-body"])
async def test_what_was_answered_counts_and_what_follows_is_read_to_a_limit(
    hooks: Receiver, webhooks: Webhooks, notify: Notify, path: str
) -> None:
    async with webhooks(total=30.0) as sender:
        outcome = await timed(sender.send(notify(hooks.url(path))), 1.0)
        assert outcome.ok
        assert (await sender.send(notify(hooks.url("/huge/500")))).status == 500
        await hooks.wait_until_left(within=LATE)


async def test_a_receiver_that_refuses_or_never_accepts_is_left_in_time(
    webhooks: Webhooks, notify: Notify
) -> None:
    async with webhooks(total=30.0) as sender:
        with refusing_port() as port:
            outcome = await timed(sender.send(notify(f"http://127.0.0.1:{port}/")), CONNECT)
        assert outcome.error == "The subscriber refuses connections."
        assert not outcome.permanent
        with unaccepting_port() as port:
            outcome = await timed(sender.send(notify(f"http://127.0.0.1:{port}/")), CONNECT)
        assert outcome.error == "No connection to the subscriber was made in time."
        assert not outcome.permanent


async def test_a_name_that_is_not_known_is_worth_another_try(
    webhooks: Webhooks, notify: Notify
) -> None:
    class Unknown:
        async def resolve(self, host: str, port: int) -> Addresses:
            raise OSError("no such name: secret.example.net")

        async def close(self) -> None: ...

    async with webhooks(resolver=Unknown()) as sender:
        outcome = await sender.send(notify("http://secret.example.net/"))
    assert outcome.error == "The subscriber's name could not be resolved."
    assert not outcome.permanent


async def test_no_error_repeats_what_the_url_says(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    async with webhooks() as sender:
        for path in ("/hang", "/reset", "/nonsense", "/status/500", "/status/404", "/gone"):
            outcome = await sender.send(notify(hooks.url(f"{path}?token=sesame")))
            assert "sesame" not in (outcome.error or "")
            assert len(outcome.error or "") <= MAX_ERROR


async def test_options_that_cannot_be_sent_are_said_and_not_tried_again(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    async with webhooks() as sender:
        outcome = await sender.send(notify(hooks.url(), post_data={"a": 1}))
        assert outcome.permanent
        assert "post_data" in (outcome.error or "")
        assert sender.endpoint(notify(hooks.url(), post_data=1).subscription) == hooks.url("")
    assert hooks.count == 0


# Whom it may call: with what is the default in production


async def test_by_default_no_address_of_this_machine_is_called(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    async with webhooks(EgressPolicy()) as sender:
        outcome = await sender.send(notify(hooks.url()))
        assert outcome.permanent
        assert "private" in (outcome.error or "")
        assert sender.endpoint(notify(hooks.url()).subscription) == "unknown"
    assert hooks.connections == 0


class Changing:
    """A name that means something else at every look."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = list(addresses)

    async def resolve(self, host: str, port: int) -> Addresses:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self._addresses.pop(0), port))]

    async def close(self) -> None: ...


async def test_by_default_a_name_that_leads_to_this_machine_is_not_called(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    async with webhooks(
        EgressPolicy(), resolver=Changing("127.0.0.1", "169.254.169.254")
    ) as sender:
        for _ in range(2):
            outcome = await sender.send(notify(f"http://example.net:{hooks.port}/ok"))
            assert "does not call" in (outcome.error or "")
    assert hooks.connections == 0


async def test_a_name_that_changes_to_a_private_address_is_not_called_there(
    webhooks: Webhooks, notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nuska.delivery.senders.names.NAMES_KEPT", 0)
    policy = EgressPolicy(allowed=parse_networks(("127.0.0.1/32",)))
    async with (
        receiver(host="127.0.0.1") as public,
        receiver(host="127.0.0.2", port=public.port) as private,
        webhooks(policy, resolver=Changing("127.0.0.1", "127.0.0.2"), total=30.0) as sender,
    ):
        url = f"http://example.net:{public.port}/close"
        assert "closed" in ((await sender.send(notify(url))).error or "")
        assert "does not call" in ((await sender.send(notify(url))).error or "")
        assert (public.count, private.connections) == (1, 0)


async def test_a_redirect_to_a_private_address_is_not_followed(
    webhooks: Webhooks, notify: Notify
) -> None:
    async with receiver() as first, receiver() as second, webhooks() as sender:
        outcome = await sender.send(notify(first.url(f"/redirect?to={second.url()}")))
        assert (outcome.ok, outcome.status, outcome.permanent) == (False, 302, True)
        assert second.connections == 0


async def test_a_proxy_of_the_environment_is_not_asked(
    hooks: Receiver, webhooks: Webhooks, notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
        async with webhooks() as sender:
            assert (await sender.send(notify(hooks.url()))).ok
        assert proxy.connections == 0


async def test_certificates_are_verified(
    tmp_path: Path, webhooks: Webhooks, notify: Notify
) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=str(cert))
    async with receiver(tls=context) as hooks:
        async with webhooks(total=30.0, connect=10.0) as sender:
            outcome = await sender.send(notify(hooks.url()))
            assert outcome.error == "The subscriber's TLS certificate is not valid for its name."
        async with webhooks(total=30.0, connect=10.0, tls=trusting) as sender:
            assert (await sender.send(notify(hooks.url()))).ok
            wrong = hooks.url().replace("127.0.0.1", "localhost")
            assert "certificate" in ((await sender.send(notify(wrong))).error or "")
    async with receiver() as plain, webhooks(total=30.0, tls=trusting) as sender:
        outcome = await sender.send(notify(plain.url("/hang").replace("http:", "https:")))
        assert not outcome.ok


# Signatures and CloudEvents


async def test_a_signed_request_is_genuine_by_either_secret(
    hooks: Receiver, webhooks: Webhooks, notify: Notify, clock: ManualClock
) -> None:
    other = "whsec_" + "b" * 32
    async with webhooks() as sender:
        for _ in range(2):
            await sender.send(notify(hooks.url(), signing_secrets=[SECRET, other]))
    for request in hooks.requests:
        for secret in (SECRET, other):
            key = parse_secret(secret)
            assert refusal([key], request.headers, request.body, now=clock.now()) is None
        assert refusal([b"x" * 32], request.headers, request.body, now=clock.now())
    first, second = (request.headers["webhook-id"] for request in hooks.requests)
    assert first == second, "an attempt of the same message has the same id"


async def test_a_cloudevent_travels_in_one_document_or_in_headers(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    async with webhooks() as sender:
        await sender.send(notify(hooks.url(), post_format="cloudevents"))
        headlines = notify(hooks.url(), post_format="cloudevents-binary", queue=topic("p", "jobs"))
        await sender.send(headlines)
    structured, binary = hooks.requests
    assert structured.headers["content-type"] == "application/cloudevents+json"
    assert json.loads(structured.body)["data"] == {"job": 17}
    assert binary.headers["content-type"] == "application/json"
    assert binary.headers["ce-source"] == "/v2/topics/jobs"
    assert binary.headers["ce-id"] == "m1"
    assert binary.body == b'{"job": 17}'


async def test_confirmation_is_asked_in_the_contracts_words(
    hooks: Receiver, webhooks: Webhooks, notify: Notify
) -> None:
    request = ConfirmationRequest(
        type="SubscriptionConfirmation",
        queue_name="jobs",
        project="p",
        path="/v2/queues/jobs/subscriptions/0/confirm",
        signature="ab",
        expires="2031-03-04T05:06:07",
        public_url="https://mq.example.net",
    )
    async with webhooks() as sender:
        outcome = await sender.ask(
            notify(hooks.url(), post_headers={"X-A": "b"}, post_data="x").subscription, request
        )
    assert outcome.ok
    [received] = hooks.requests
    assert received.headers["x-a"] == "b"
    assert json.loads(received.body) == {
        "Message_Type": "SubscriptionConfirmation",
        "Message": "You have chosen to subscribe to the queue: jobs",
        "URL-Signature": "ab",
        "URL-Methods": "PUT",
        "URL-Paths": "/v2/queues/jobs/subscriptions/0/confirm",
        "X-Project-ID": "p",
        "URL-Expires": "2031-03-04T05:06:07",
        "SubscribeBody": {"confirmed": True},
        "UnsubscribeBody": {"confirmed": False},
        "WSGISubscribeURL": "https://mq.example.net/v2/queues/jobs/subscriptions/0/confirm",
        "queue_name": "jobs",
    }


async def test_under_load_every_failure_is_as_limited_as_alone(
    webhooks: Webhooks, notify: Notify
) -> None:
    """Healthy subscribers keep being told while as many others fail in every way."""
    bad = ["/hang", "/drip", "/reset", "/close", "/nonsense", "/huge", "/huge-head", "/status/500"]
    async with receiver() as healthy, receiver() as broken, webhooks() as sender:
        failing = [
            asyncio.create_task(sender.send(notify(broken.url(path), number=number)))
            for number, path in enumerate(bad * 8)
        ]
        for number in range(200):
            assert (await sender.send(notify(healthy.url(), number=number))).ok
        outcomes = await asyncio.wait_for(asyncio.gather(*failing), TOTAL + 2 * LATE)
        for path, outcome in zip(bad * 8, outcomes, strict=True):
            assert outcome.ok == (path == "/huge")
            assert not outcome.permanent
    assert healthy.count == 200
