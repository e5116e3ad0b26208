"""No caller reaches the service's own queues by calling himself what they are kept under."""

from typing import Any

import pytest

from nuska.domain.internal import internal, topic
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver
from nuska.testing.clock import ManualClock

JOBS = QueueRef("acme", "jobs")
QUEUE = "/v2/queues/jobs"
ID = "024bb9c3800000d862c2e36b0a42f782"
PATCH = [{"op": "replace", "path": "/metadata/x", "value": 1}]
PATCH_TYPE = {"Content-Type": "application/openstack-messaging-v2.0-json-patch"}

REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/v2/queues", None),
    ("PUT", QUEUE, {}),
    ("GET", QUEUE, None),
    ("DELETE", QUEUE, None),
    ("GET", f"{QUEUE}/stats", None),
    ("POST", f"{QUEUE}/purge", {"resource_types": ["messages"]}),
    ("POST", f"{QUEUE}/messages", {"messages": [{"body": 1}]}),
    ("GET", f"{QUEUE}/messages", None),
    ("GET", f"{QUEUE}/messages?ids={ID}", None),
    ("DELETE", f"{QUEUE}/messages?pop=1", None),
    ("DELETE", f"{QUEUE}/messages?ids={ID}", None),
    ("GET", f"{QUEUE}/messages/{ID}", None),
    ("DELETE", f"{QUEUE}/messages/{ID}", None),
    ("POST", f"{QUEUE}/claims", {"ttl": 60, "grace": 60}),
    ("GET", f"{QUEUE}/claims/{ID[:24]}", None),
    ("PATCH", f"{QUEUE}/claims/{ID[:24]}", {"ttl": 60, "grace": 60}),
    ("DELETE", f"{QUEUE}/claims/{ID[:24]}", None),
]


@pytest.mark.parametrize("ref", [internal("retries", JOBS), topic("acme", "jobs")], ids=repr)
@pytest.mark.parametrize(("method", "target", "body"), REQUESTS)
async def test_every_request_under_such_a_name_is_refused_and_changes_nothing(
    api: AsgiDriver,
    store: MemoryStore,
    clock: ManualClock,
    ref: QueueRef,
    method: str,
    target: str,
    body: Any,
) -> None:
    message = NewMessage(body=b"1", ttl=seconds(60))
    await store.messages.add(ref, [message], now=clock.now())
    intruder = api.with_headers(X_Project_Id=ref.project)
    reply = await intruder.request(method, target, body)
    assert reply.status == 400
    assert "control characters" in reply.json()["description"]
    page = await store.messages.page(ref, after=BEFORE_ALL, limit=9, now=clock.now())
    assert [message.body for message in page.messages] == [b"1"]


async def test_a_patch_under_such_a_name_is_refused(api: AsgiDriver) -> None:
    intruder = api.with_headers(X_Project_Id=topic("acme", "jobs").project)
    reply = await intruder.request("PATCH", QUEUE, PATCH, headers=PATCH_TYPE)
    assert (reply.status, "control characters" in reply.json()["description"]) == (400, True)
