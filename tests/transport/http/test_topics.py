"""Topics: contract http-v2 §6. Queues in a namespace of their own, to which one publishes."""

from typing import Any

import pytest

from nuska.core import Core
from nuska.core.subscription_records import SubscriptionRecords
from nuska.domain.internal import topic
from nuska.domain.messages import QueueRef
from nuska.domain.positions import BEFORE_ALL
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver
from nuska.testing.clock import ManualClock

TOPIC = "/v2/topics/news"
HOOK = "https://hooks.example.net/in"
SHOWN = {
    "_max_messages_post_size": 262_144,
    "_default_message_ttl": 3600,
    "_default_message_delay": 0,
}


async def publish(api: AsgiDriver, *bodies: Any) -> list[str]:
    messages = [{"body": body} for body in bodies]
    reply = await api.post(f"{TOPIC}/messages", {"messages": messages})
    assert reply.status == 201, reply.body
    return reply.json()["resources"]


async def test_a_topic_is_made_shown_changed_and_deleted_as_a_queue_is(api: AsgiDriver) -> None:
    made = await api.put(TOPIC, {"team": "press"})
    assert (made.status, made.headers["location"]) == (201, TOPIC)
    assert (await api.put(TOPIC)).status == 204
    assert (await api.get(TOPIC)).json() == {"team": "press", **SHOWN}
    patch = [{"op": "add", "path": "/metadata/_default_message_ttl", "value": 90}]
    kind = {"Content-Type": "application/openstack-messaging-v2.0-json-patch"}
    changed = await api.patch(TOPIC, patch, headers=kind)
    assert changed.json() == {"team": "press", **SHOWN, "_default_message_ttl": 90}
    assert (await api.delete(TOPIC)).status == 204
    assert (await api.get(TOPIC)).json() == SHOWN
    missing = await api.patch(TOPIC, patch, headers=kind)
    assert missing.status == 404
    assert "topic" in missing.json()["description"]


async def test_topics_are_listed_apart_from_queues(api: AsgiDriver) -> None:
    for name in ("news", "alerts", "sports"):
        await api.put(f"/v2/topics/{name}")
    await api.put("/v2/queues/news")
    page = (await api.get("/v2/topics?limit=2&with_count=true&detailed=true")).json()
    assert [item["href"] for item in page["topics"]] == ["/v2/topics/alerts", TOPIC]
    assert page["topics"][0]["metadata"] == SHOWN
    assert page["count"] == 3
    rest = (await api.get(page["links"][0]["href"])).json()
    assert [item["name"] for item in rest["topics"]] == ["sports"]
    queues = (await api.get("/v2/queues?with_count=true")).json()
    assert [item["name"] for item in queues["queues"]] == ["news"]
    assert queues["count"] == 1


async def test_what_is_published_is_read_by_everybody_and_apart_from_the_queue(
    api: AsgiDriver, bob: AsgiDriver
) -> None:
    hrefs = await publish(api, 1, {"a": 2})
    assert all(href.startswith(f"{TOPIC}/messages/") for href in hrefs)
    page = (await bob.get(f"{TOPIC}/messages?limit=1")).json()
    assert [item["body"] for item in page["messages"]] == [1]
    assert page["messages"][0]["href"] == hrefs[0]
    assert page["links"][0]["href"].startswith(f"{TOPIC}/messages?")
    rest = (await bob.get(page["links"][0]["href"])).json()
    assert [item["body"] for item in rest["messages"]] == [{"a": 2}]
    assert (await bob.get(hrefs[1])).json()["body"] == {"a": 2}
    assert (await bob.get("/v2/queues/news/messages")).json()["messages"] == []
    assert (await bob.delete(hrefs[0])).status == 204
    assert (await bob.get(hrefs[0])).status == 404


async def test_stats_count_what_was_published(api: AsgiDriver, clock: ManualClock) -> None:
    empty = await api.get(f"{TOPIC}/stats")
    assert (empty.status, empty.json()) == (200, {"messages": {"total": 0}})
    [first] = await publish(api, 1)
    clock.advance(seconds=5)
    [last] = await publish(api, 2)
    stats = (await api.get(f"{TOPIC}/stats")).json()["messages"]
    assert stats["total"] == 2
    assert (stats["oldest"]["href"], stats["oldest"]["age"]) == (first, 5)
    assert stats["newest"]["href"] == last


async def test_nobody_takes_from_a_topic(api: AsgiDriver) -> None:
    await publish(api, 1)
    assert (await api.post(f"{TOPIC}/claims")).status == 404
    popped = await api.delete(f"{TOPIC}/messages?pop=1")
    assert (popped.status, popped.headers["allow"]) == (405, "POST, GET, OPTIONS")


async def test_a_subscription_of_a_topic_is_the_topics_own(
    api: AsgiDriver, core: Core, store: MemoryStore, clock: ManualClock
) -> None:
    made = await api.post(f"{TOPIC}/subscriptions", {"subscriber": HOOK})
    assert (made.status, made.headers["location"]) == (201, f"{TOPIC}/subscriptions")
    one = f"{TOPIC}/subscriptions/{made.json()['subscription_id']}"
    assert (await api.get(one)).json()["source"] == "news"
    assert (await api.get(one.replace("topics", "queues"))).status == 404
    assert (await api.get("/v2/queues/news/subscriptions")).json()["subscriptions"] == []
    assert (await api.put(f"{one}/confirm", {"confirmed": True})).status == 204
    assert (await api.patch(one, {"ttl": 90})).headers["location"] == one
    await publish(api, 1, 2)
    logged = await store.announcements.page(
        topic("acme", "news"), after=BEFORE_ALL, limit=10, now=clock.now()
    )
    assert [message.body for message in logged] == [b"1", b"2"]
    assert (await api.delete(one)).status == 204
    assert (await api.get(one)).status == 404


async def test_a_queue_of_a_topics_name_can_subscribe_it(api: AsgiDriver) -> None:
    reply = await api.post(f"{TOPIC}/subscriptions", {"subscriber": "queue:news"})
    assert reply.status == 201


@pytest.mark.parametrize(
    ("types", "left"), [(["messages"], (0, 1)), (["subscriptions"], (1, 0)), (None, (0, 0))]
)
async def test_a_purge_of_a_topic_leaves_the_queue_of_its_name(
    api: AsgiDriver, types: list[str] | None, left: tuple[int, int]
) -> None:
    for base in (TOPIC, "/v2/queues/news"):
        await api.post(f"{base}/messages", {"messages": [{"body": 1}]})
        await api.post(f"{base}/subscriptions", {"subscriber": HOOK})
    body = None if types is None else {"resource_types": types}
    assert (await api.post(f"{TOPIC}/purge", body)).status == 204
    counts = []
    for base in (TOPIC, "/v2/queues/news"):
        messages = (await api.get(f"{base}/messages?echo=true")).json()["messages"]
        subscriptions = (await api.get(f"{base}/subscriptions")).json()["subscriptions"]
        counts.append((len(messages), len(subscriptions)))
    assert counts == [left, (1, 1)]


async def test_topics_of_other_projects_are_nobodys_business(api: AsgiDriver) -> None:
    [href] = await publish(api, 1)
    made = await api.post(f"{TOPIC}/subscriptions", {"subscriber": HOOK})
    one = f"{TOPIC}/subscriptions/{made.json()['subscription_id']}"
    other = api.with_headers(X_Project_Id="other")
    assert (await other.get("/v2/topics")).json()["topics"] == []
    assert (await other.get(href)).status == 404
    assert (await other.get(one)).status == 404
    await other.post(f"{TOPIC}/purge")
    await other.delete(TOPIC)
    assert (await api.get(href)).status == 200
    assert (await api.get(one)).status == 200


@pytest.mark.parametrize("ending", ["purge", "delete"])
async def test_what_was_purged_is_told_to_nobody_any_more(
    api: AsgiDriver, store: MemoryStore, clock: ManualClock, ending: str
) -> None:
    records, jobs = SubscriptionRecords(store.records), QueueRef("acme", "jobs")
    await api.post("/v2/queues/jobs/messages", {"messages": [{"body": 1}]})
    await api.post("/v2/queues/jobs/purge", {"resource_types": ["messages"]})
    assert await records.followed(jobs) is None  # nobody is told anyway
    await api.post("/v2/queues/jobs/subscriptions", {"subscriber": HOOK})
    await api.post("/v2/queues/jobs/messages", {"messages": [{"body": 2}]})
    [posted] = await store.announcements.page(jobs, after=BEFORE_ALL, limit=9, now=clock.now())
    if ending == "purge":
        await api.post("/v2/queues/jobs/purge", {"resource_types": ["messages"]})
    else:
        await api.delete("/v2/queues/jobs")
    followed = await records.followed(jobs)
    assert followed is not None
    assert followed.value.cleared >= posted.position
    await api.post("/v2/queues/jobs/messages", {"messages": [{"body": 3}]})
    [later] = await store.announcements.page(jobs, after=BEFORE_ALL, limit=9, now=clock.now())
    assert followed.value.cleared < later.position
