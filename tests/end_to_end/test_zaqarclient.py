"""python-zaqarclient, unmodified, makes every queue, message and claim call it has."""

from collections.abc import Iterable

import pytest
from zaqarclient.queues import client as zaqar
from zaqarclient.queues.v2 import core
from zaqarclient.queues.v2.claim import Claim
from zaqarclient.queues.v2.client import Client
from zaqarclient.queues.v2.queues import Queue
from zaqarclient.transport import errors

from nuska.testing.server_process import ServerProcess

DEFAULTS = {
    "_max_messages_post_size": 262144,
    "_default_message_ttl": 3600,
    "_default_message_delay": 0,
    "_dead_letter_queue": None,
    "_dead_letter_queue_messages_ttl": None,
    "_max_claim_count": None,
    "_enable_encrypt_messages": False,
}
FULL_PAGE = 20


@pytest.fixture
def client(server: ServerProcess, project: str) -> Client:
    return connect(server, project)


@pytest.fixture
def queue(client: Client) -> Queue:
    return client.queue("jobs", force_create=True)


def connect(server: ServerProcess, project: str) -> Client:
    auth = {"backend": "noauth", "options": {"os_project_id": project}}
    return zaqar.Client(server.url, version=2, conf={"auth_opts": auth})


def bodies(messages: Iterable[object]) -> list[object]:
    return [message.body for message in messages]


def post(queue: Queue, *texts: object) -> list[str]:
    """Post one message for each of ``texts``; their ids."""
    posted = queue.post([{"body": text, "ttl": 300} for text in texts])
    return [href.rsplit("/", 1)[-1] for href in posted["resources"]]


class TestService:
    def test_a_client_without_a_project_uses_its_own_default(self, server: ServerProcess) -> None:
        bare = zaqar.Client(server.url, version=2, conf={"auth_opts": {"backend": "noauth"}})
        queue = bare.queue("bare-noauth", force_create=True)
        post(queue, "hello")
        assert bodies(queue.pop()) == ["hello"]
        queue.delete()

    def test_ping_answers(self, client: Client) -> None:
        assert client.ping() is True

    def test_the_home_document_lists_the_resources(self, client: Client) -> None:
        resources = client.homedoc()["resources"]
        assert resources["rel/queue"]["href-template"] == "/v2/queues/{queue_name}"

    def test_health_does_not_exist_outside_admin_mode(self, client: Client) -> None:
        with pytest.raises(errors.ResourceNotFound):
            client.health()


class TestQueues:
    def test_a_queue_exists_once_it_is_created(self, client: Client) -> None:
        queue = client.queue("jobs")
        assert queue.exists() is False
        queue.ensure_exists(force_create=True)
        assert queue.exists() is True

    def test_creating_a_queue_again_changes_nothing(self, client: Client, queue: Queue) -> None:
        queue.metadata(new_meta={"team": "billing"})
        client.queue("jobs", force_create=True).ensure_exists(force_create=True)
        assert queue.metadata(force_reload=True)["team"] == "billing"

    def test_a_queue_nobody_created_shows_the_defaults(self, client: Client) -> None:
        assert client.queue("nobody").metadata() == DEFAULTS

    def test_new_metadata_replaces_all_of_the_old(self, queue: Queue) -> None:
        queue.metadata(new_meta={"team": "billing", "_default_message_ttl": 900, "old": 1})
        queue.metadata(new_meta={"team": "orders", "_default_message_ttl": 1800, "new": [1]})
        expected = DEFAULTS | {"team": "orders", "_default_message_ttl": 1800, "new": [1]}
        assert queue.metadata_dict == expected
        assert queue.metadata(force_reload=True) == expected

    def test_empty_metadata_clears_everything(self, queue: Queue) -> None:
        queue.metadata(new_meta={"team": "billing", "_max_claim_count": 3})
        assert queue.metadata(new_meta={}) == DEFAULTS

    def test_metadata_out_of_range_is_a_malformed_request(self, queue: Queue) -> None:
        with pytest.raises(errors.MalformedRequest, match="_default_message_ttl"):
            queue.metadata(new_meta={"_default_message_ttl": 1})

    def test_metadata_of_a_missing_queue_cannot_be_changed(self, client: Client) -> None:
        with pytest.raises(errors.ResourceNotFound, match="Title: Not found"):
            client.queue("nobody").metadata(new_meta={"team": "billing"})

    def test_a_deleted_queue_starts_empty_under_its_name(
        self, client: Client, queue: Queue
    ) -> None:
        queue.metadata(new_meta={"team": "billing"})
        post(queue, "gone")
        queue.delete()
        again = client.queue("jobs", force_create=True)
        assert again.metadata() == DEFAULTS
        assert bodies(again.messages(echo=True)) == []
        again.delete()
        again.delete()

    def test_stats_count_free_and_claimed_messages(self, queue: Queue) -> None:
        assert queue.stats == {"messages": {"claimed": 0, "free": 0, "total": 0}}
        first, *_, last = post(queue, "a", "b", "c")
        queue.claim(ttl=60, grace=60, limit=1)
        stats = queue.stats["messages"]
        assert (stats["claimed"], stats["free"], stats["total"]) == (1, 2, 3)
        assert stats["oldest"]["href"] == f"/v2/queues/jobs/messages/{first}"
        assert stats["newest"]["href"] == f"/v2/queues/jobs/messages/{last}"

    @pytest.mark.parametrize("resources", [None, ["messages"], ["messages", "subscriptions"]])
    def test_purge_empties_the_queue_and_keeps_its_metadata(
        self, queue: Queue, resources: list[str] | None
    ) -> None:
        queue.metadata(new_meta={"team": "billing"})
        post(queue, "a", "b")
        queue.claim(ttl=60, grace=60, limit=1)
        queue.purge(resource_types=resources)
        assert queue.stats["messages"]["total"] == 0
        assert queue.metadata(force_reload=True)["team"] == "billing"

    def test_a_name_the_server_refuses_is_a_malformed_request(self, client: Client) -> None:
        with pytest.raises(errors.MalformedRequest, match="Invalid queue identification"):
            client.queue("q" * 65, force_create=True)


class TestQueueList:
    @pytest.fixture
    def names(self, client: Client) -> list[str]:
        names = [f"queue-{number:02}" for number in range(FULL_PAGE + 3)]
        for name in names:
            client.queue(name, force_create=True)
        return names

    def test_a_project_without_queues_lists_none(self, client: Client) -> None:
        found, count = client.queues()
        assert (list(found), count) == ([], None)

    def test_one_page_holds_ten_and_a_stream_all(self, client: Client, names: list[str]) -> None:
        page, _ = client.queues()
        assert [queue.name for queue in page] == names[:10]
        everything, _ = client.queues(limit=3)
        assert [queue.name for queue in everything.stream()] == names

    def test_a_marker_continues_after_its_name(self, client: Client, names: list[str]) -> None:
        page, _ = client.queues(marker=names[4], limit=2)
        assert [queue.name for queue in page] == names[5:7]

    def test_a_count_is_that_of_the_project(self, client: Client, names: list[str]) -> None:
        page, count = client.queues(with_count=True, limit=1)
        assert ([queue.name for queue in page], count) == (names[:1], len(names))

    def test_a_detailed_list_carries_metadata(self, client: Client, queue: Queue) -> None:
        queue.metadata(new_meta={"team": "billing"})
        (found,) = client.queues(detailed=True)[0]
        assert found.metadata() == DEFAULTS | {"team": "billing"}
        assert found.href == "/v2/queues/jobs"

    def test_a_list_can_be_narrowed_by_name_and_metadata(
        self, client: Client, names: list[str]
    ) -> None:
        client.queue(names[2]).metadata(new_meta={"team": "billing"})
        by_name, _ = client.queues(name="-1")
        assert [queue.name for queue in by_name] == names[10:20]
        by_metadata, _ = client.queues(team="billing")
        assert [queue.name for queue in by_metadata.stream()] == [names[2]]

    def test_a_page_past_the_maximum_is_a_malformed_request(self, client: Client) -> None:
        with pytest.raises(errors.MalformedRequest, match="Invalid API request"):
            client.queues(limit=FULL_PAGE + 1)

    def test_a_link_can_be_followed_by_hand(self, client: Client, names: list[str]) -> None:
        page = client.follow("/v2/queues?limit=2")
        (link,) = page["links"]
        assert [item["name"] for item in client.follow(link["href"])["queues"]] == names[2:4]


class TestMessages:
    def test_one_message_may_be_posted_without_a_list(self, queue: Queue) -> None:
        posted = queue.post({"body": {"job": 17}, "ttl": 60})
        assert len(posted["resources"]) == 1

    def test_a_message_is_read_by_its_id(self, queue: Queue) -> None:
        (message_id,) = post(queue, {"job": 17, "naïve": "日本"})
        message = queue.message(message_id)
        assert (message.id, message.ttl, message.body) == (
            message_id,
            300,
            {"job": 17, "naïve": "日本"},
        )
        assert message.claim_id is None

    def test_a_message_that_is_not_there_is_not_found(self, queue: Queue) -> None:
        with pytest.raises(errors.ResourceNotFound):
            queue.message("0" * 32)

    def test_messages_are_read_by_ids_in_the_order_asked(self, queue: Queue) -> None:
        ids = post(queue, "a", "b", "c")
        assert bodies(queue.messages(ids[2], ids[0])) == ["c", "a"]

    def test_a_list_hides_the_clients_own_messages_unless_asked(
        self, server: ServerProcess, project: str, queue: Queue
    ) -> None:
        post(queue, "mine")
        post(connect(server, project).queue("jobs"), "theirs")
        assert bodies(queue.messages()) == ["theirs"]
        assert bodies(queue.messages(echo=True)) == ["mine", "theirs"]

    def test_a_list_shows_claimed_messages_when_asked(self, queue: Queue) -> None:
        post(queue, "a", "b")
        claim = queue.claim(ttl=60, grace=60, limit=1)
        assert bodies(queue.messages(echo=True)) == ["b"]
        claimed, free = queue.messages(echo=True, include_claimed=True)
        assert (claimed.claim_id, free.claim_id) == (claim.id, None)

    def test_a_stream_pages_through_the_whole_queue(self, queue: Queue) -> None:
        post(queue, *range(57))
        assert bodies(queue.messages(echo=True)) == list(range(10))
        assert bodies(queue.messages(echo=True, limit=7).stream()) == list(range(57))

    def test_paging_goes_on_after_its_marker_was_deleted(self, queue: Queue) -> None:
        post(queue, *range(6))
        seen = []
        for message in queue.messages(echo=True, limit=2).stream():
            seen.append(message.body)
            message.delete()
        assert seen == list(range(6))

    def test_a_message_is_deleted_once_and_again(self, queue: Queue) -> None:
        (message_id,) = post(queue, "a")
        message = queue.message(message_id)
        message.delete()
        message.delete()
        with pytest.raises(errors.ResourceNotFound):
            queue.message(message_id)

    def test_messages_are_deleted_by_ids(self, queue: Queue) -> None:
        ids = post(queue, "a", "b", "c")
        queue.delete_messages(ids[0], ids[2])
        assert bodies(queue.messages(echo=True)) == ["b"]

    def test_pop_takes_the_oldest_first(self, queue: Queue) -> None:
        post(queue, *range(5))
        assert bodies(queue.pop()) == [0]
        (second, third) = queue.pop(2)
        assert (second.body, third.body, second.claim_count) == (1, 2, 0)
        assert bodies(queue.pop(FULL_PAGE)) == [3, 4]
        assert bodies(queue.pop()) == []

    @pytest.mark.parametrize(
        "message",
        [{"ttl": 60}, {"body": 1, "ttl": 59}, {"body": 1, "ttl": 1209601}, {"body": 1, "ttl": "a"}],
    )
    def test_a_bad_message_is_a_malformed_request(
        self, queue: Queue, message: dict[str, object]
    ) -> None:
        with pytest.raises(errors.MalformedRequest, match=r"Title: .+ Description: .+"):
            queue.post(message)
        assert queue.stats["messages"]["total"] == 0

    def test_a_post_to_no_queue_creates_it(self, client: Client) -> None:
        queue = client.queue("lazy")
        post(queue, "a")
        assert [found.name for found in client.queues()[0]] == ["lazy"]


class TestClaims:
    @pytest.fixture
    def claim(self, queue: Queue) -> Claim:
        post(queue, "a", "b", "c")
        return queue.claim(ttl=120, grace=60, limit=2)

    def test_a_claim_holds_the_oldest_messages(self, claim: Claim) -> None:
        messages = list(claim)
        assert bodies(messages) == ["a", "b"]
        assert {message.claim_id for message in messages} == {claim.id}

    def test_a_claim_with_only_null_terms_gets_the_defaults(self, queue: Queue) -> None:
        post(queue, "a")
        assert queue.claim(id=queue.claim().id).ttl == 300

    def test_an_empty_queue_gives_a_claim_of_nothing(self, queue: Queue) -> None:
        claim = queue.claim(ttl=60, grace=60)
        assert (claim.id, list(claim)) == (None, [])

    def test_a_claim_is_read_by_its_id(self, queue: Queue, claim: Claim) -> None:
        found = queue.claim(id=claim.id)
        assert bodies(found) == ["a", "b"]
        assert (found.ttl, found.age) == (120, 0)

    def test_a_claim_is_renewed_for_longer(self, queue: Queue, claim: Claim) -> None:
        claim.update(ttl=600, grace=120)
        assert queue.claim(id=claim.id).ttl == 600
        claim.update()  # an empty body means the defaults, not the present values
        assert queue.claim(id=claim.id).ttl == 300

    def test_a_released_claim_gives_its_messages_back_in_order(
        self, queue: Queue, claim: Claim
    ) -> None:
        claim.delete()
        claim.delete()
        with pytest.raises(errors.ResourceNotFound):
            claim.update(ttl=60)
        assert bodies(queue.claim(ttl=60, grace=60)) == ["a", "b", "c"]

    def test_a_worker_deletes_what_it_has_claimed(self, queue: Queue, claim: Claim) -> None:
        for message in claim:
            message.delete()
        assert bodies(queue.claim(id=claim.id)) == []
        assert queue.stats["messages"]["total"] == 1

    def test_a_claimed_message_is_not_deleted_without_its_claim(
        self, queue: Queue, claim: Claim
    ) -> None:
        held = next(iter(claim))
        held.href = f"/v2/queues/jobs/messages/{held.id}"
        with pytest.raises(errors.ForbiddenError, match="Unable to delete"):
            held.delete()

    def test_a_message_is_not_deleted_with_a_claim_that_is_over(
        self, queue: Queue, claim: Claim
    ) -> None:
        held = next(iter(claim))
        claim.delete()
        with pytest.raises(errors.MalformedRequest, match="Unable to delete"):
            held.delete()

    def test_a_claim_out_of_range_is_a_malformed_request(self, queue: Queue) -> None:
        with pytest.raises(errors.MalformedRequest):
            queue.claim(ttl=59, grace=60)
        with pytest.raises(errors.MalformedRequest):
            queue.claim(ttl=60, grace=60, limit=FULL_PAGE + 1)

    def test_a_message_claimed_too_often_moves_to_the_dead_letter_queue(
        self, client: Client
    ) -> None:
        # `Queue.metadata` adds a key that was null and then removes it; the layer below can.
        request, transport = client._request_and_transport()
        rule = {"_max_claim_count": 1, "_dead_letter_queue": "dead"}
        core.queue_create(transport, request, "jobs", metadata=rule)
        queue = client.queue("jobs")
        post(queue, "poison")
        queue.claim(ttl=60, grace=60).delete()
        assert queue.claim(ttl=60, grace=60).id is None
        assert bodies(client.queue("dead").messages(echo=True)) == ["poison"]


HOOK = "https://hooks.example.net/in"


class TestSubscriptions:
    def test_the_life_of_a_subscription(self, client: Client) -> None:
        made = client.subscription("jobs", subscriber=HOOK, ttl=600, options={"a": 1})
        assert made.id
        assert (made.ttl, made.options, made.confirmed) == (600, {"a": 1}, False)
        made.update({"ttl": 900, "options": {"b": 2}})
        again = client.subscription("jobs", id=made.id)
        assert (again.subscriber, again.ttl, again.options) == (HOOK, 900, {"b": 2})
        made.delete()
        with pytest.raises(errors.ResourceNotFound):
            client.subscription("jobs", id=made.id)

    def test_a_subscription_may_be_asked_for_again_until_it_is_confirmed(
        self, client: Client, server: ServerProcess
    ) -> None:
        first = client.subscription("jobs", subscriber=HOOK)
        assert client.subscription("jobs", subscriber=HOOK).id == first.id
        request, transport = client._request_and_transport()
        core.subscription_delete(transport, request, "jobs", first.id)

    def test_lists_go_over_pages_and_show_disabled_ones(self, client: Client) -> None:
        made = {
            client.subscription("jobs", subscriber=f"{HOOK}/{number}", ttl=2**36).id
            for number in range(FULL_PAGE + 1)
        }
        found = client.subscriptions("jobs", limit=FULL_PAGE)
        assert {one.id for one in found} <= made
        assert all(one.ttl == 2**36 and one.age >= 0 for one in found)

    def test_what_is_wrong_is_a_malformed_request(self, client: Client) -> None:
        with pytest.raises(errors.MalformedRequest):
            client.subscription("jobs", subscriber="ftp://example.net")
        with pytest.raises(errors.MalformedRequest):
            client.subscription("jobs", subscriber=HOOK, ttl=1)

    def test_a_purge_takes_them(self, client: Client, queue: Queue) -> None:
        made = client.subscription("jobs", subscriber=HOOK)
        queue.purge(resource_types=["subscriptions"])
        with pytest.raises(errors.ResourceNotFound):
            client.subscription("jobs", id=made.id)
