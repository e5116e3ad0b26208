"""openstacksdk, unmodified, makes every queue, message and claim call of ``openstack.message``."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import requests
from keystoneauth1 import noauth, session
from openstack import exceptions
from openstack.connection import Connection
from openstack.message.v2._proxy import Proxy
from openstack.message.v2.claim import Claim
from openstack.message.v2.message import Message

from nuska.testing.server_process import ServerProcess

# The SDK warns about methods and parameters of its own that it uses itself.
pytestmark = pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")


class OpenAccess(noauth.NoAuth):
    """No token, but a project: what the SDK's own plug-in leaves empty in its header."""

    def __init__(self, endpoint: str, project: str) -> None:
        super().__init__(endpoint=endpoint)
        self._project = project

    def get_project_id(self, _session: session.Session, **_: object) -> str:
        return self._project


@contextmanager
def connect(endpoint: str, auth: noauth.NoAuth) -> Iterator[Proxy]:
    """``openstack.message`` of a connection with an endpoint override."""
    with (
        requests.Session() as sockets,  # the SDK would leave closing them to chance
        Connection(
            session=session.Session(auth=auth, session=sockets),
            message_endpoint_override=endpoint,
            message_api_version="2",
        ) as connection,
    ):
        yield connection.message


@pytest.fixture(params=["", "/v2"], ids=["override-root", "override-v2"])
def message(request: pytest.FixtureRequest, server: ServerProcess, project: str) -> Iterator[Proxy]:
    """The proxy, for each of the two overrides from which discovery has to find version 2."""
    endpoint = server.url + request.param
    with connect(endpoint, OpenAccess(endpoint, project)) as proxy:
        yield proxy


def post(message: Proxy, queue: str, *texts: object) -> list[str]:
    """Post one message for each of ``texts``; their ids."""
    hrefs = message.post_message(queue, [{"body": text, "ttl": 300} for text in texts])
    return [href.rsplit("/", 1)[-1] for href in hrefs]


def take(message: Proxy, queue: str, **terms: int) -> Claim:
    """Claim messages through the SDK's resource.

    Not through ``create_claim``: a resource that belongs to a connection takes ``location``
    for the cloud it lives in, and a claim learns its id from the header of that name.
    """
    return Claim.new(queue_name=queue, **terms).create(message)


def test_discovery_finds_version_two(message: Proxy, server: ServerProcess) -> None:
    assert message.get_endpoint().rstrip("/") == f"{server.url}/v2"
    assert message.get_api_major_version() == (2, 0)


class TestQueues:
    def test_a_queue_is_created_with_its_attributes(self, message: Proxy) -> None:
        message.create_queue(name="jobs", default_message_ttl=900, description="work to do")
        found = message.get_queue("jobs")
        assert (found.id, found.default_message_ttl, found.description) == (
            "jobs",
            900,
            "work to do",
        )
        assert found.max_messages_post_size == 262144

    def test_a_queue_nobody_created_shows_the_defaults(self, message: Proxy) -> None:
        assert message.get_queue("nobody").default_message_ttl == 3600

    def test_queues_are_listed_page_after_page(self, message: Proxy) -> None:
        names = [f"queue-{number:02}" for number in range(23)]
        for name in names:
            message.create_queue(name=name)
        assert [queue.name for queue in message.queues()] == names
        assert [queue.name for queue in message.queues(limit=5)] == names
        assert [queue.name for queue in message.queues(marker=names[19])] == names[20:]

    def test_a_project_without_queues_lists_none(self, message: Proxy) -> None:
        assert list(message.queues()) == []

    def test_a_deleted_queue_is_gone_and_may_be_deleted_again(self, message: Proxy) -> None:
        queue = message.create_queue(name="jobs")
        message.delete_queue(queue)
        message.delete_queue("jobs", ignore_missing=False)
        assert list(message.queues()) == []

    def test_a_bad_name_is_a_bad_request(self, message: Proxy) -> None:
        with pytest.raises(exceptions.BadRequestException):
            message.create_queue(name="q" * 65)


class TestMessages:
    def test_posted_messages_are_read_by_id(self, message: Proxy) -> None:
        (first, second) = post(message, "jobs", {"job": 17}, "text")
        found = message.get_message("jobs", first)
        assert (found.id, found.body, found.ttl, found.age) == (first, {"job": 17}, 300, 0)
        assert found.href == f"/v2/queues/jobs/messages/{first}"
        assert message.get_message("jobs", second).body == "text"

    def test_messages_are_listed_page_after_page(self, message: Proxy) -> None:
        post(message, "jobs", *range(33))
        assert [found.body for found in message.messages("jobs")] == list(range(33))
        assert [found.body for found in message.messages("jobs", limit=4)] == list(range(33))

    def test_a_list_goes_on_after_a_message_id(self, message: Proxy) -> None:
        ids = post(message, "jobs", *range(5))
        rest = message.messages("jobs", marker=ids[2])
        assert [found.body for found in rest] == [3, 4]

    def test_a_list_goes_on_after_its_marker_was_deleted(self, message: Proxy) -> None:
        post(message, "jobs", *range(6))
        seen = []
        for found in message.messages("jobs", limit=2):
            seen.append(found.body)
            message.delete_message("jobs", found.id)
        assert seen == list(range(6))

    def test_a_list_hides_the_clients_own_messages_unless_asked(self, message: Proxy) -> None:
        client = str(uuid.uuid4())
        post(message, "jobs", "theirs")
        Message(client_id=client, queue_name="jobs").post(message, [{"body": "mine"}])
        hidden = message.messages("jobs", client_id=client)
        assert [found.body for found in hidden] == ["theirs"]
        shown = message.messages("jobs", client_id=client, echo=True)
        assert [found.body for found in shown] == ["theirs", "mine"]

    def test_a_deleted_message_is_gone_and_may_be_deleted_again(self, message: Proxy) -> None:
        (first,) = post(message, "jobs", "a")
        message.delete_message("jobs", first)
        message.delete_message("jobs", first, ignore_missing=False)
        with pytest.raises(exceptions.NotFoundException):
            message.get_message("jobs", first)

    def test_a_refused_post_looks_like_no_success_and_stores_nothing(self, message: Proxy) -> None:
        with pytest.raises(KeyError, match="resources"):
            message.post_message("jobs", [{"body": 1}, {"body": 2, "ttl": 59}])
        assert list(message.messages("jobs")) == []


class TestClaims:
    def test_a_claim_holds_messages_and_ends_with_their_deletion(self, message: Proxy) -> None:
        first, second = post(message, "jobs", "a", "b")
        claim = take(message, "jobs", ttl=120, grace=60)
        assert [held["id"] for held in claim.messages] == [first, second]
        with pytest.raises(exceptions.ForbiddenException):
            message.delete_message("jobs", first)
        message.delete_message("jobs", first, claim=claim)
        message.delete_message("jobs", second, claim=claim.id)
        assert message.get_claim("jobs", claim.id).messages == []

    def test_a_list_shows_claimed_messages_when_asked(self, message: Proxy) -> None:
        post(message, "jobs", "a", "b")
        take(message, "jobs", ttl=60, grace=60)
        assert list(message.messages("jobs")) == []
        claimed = message.messages("jobs", include_claimed=True)
        assert [found.body for found in claimed] == ["a", "b"]

    def test_a_claim_of_nothing_has_no_id(self, message: Proxy) -> None:
        claim = message.create_claim("jobs", ttl=120, grace=60)
        assert (claim.id, claim.messages) == (None, None)

    def test_the_claim_call_of_the_proxy_reaches_the_server(self, message: Proxy) -> None:
        post(message, "jobs", "a")
        with suppress(AttributeError):  # see `take`
            message.create_claim("jobs", ttl=120, grace=60)
        (held,) = message.messages("jobs", include_claimed=True)
        claim_id = held.href.rpartition("?claim_id=")[2]
        assert message.get_claim("jobs", claim_id).ttl == 120

    def test_a_claim_is_read_by_its_id(self, message: Proxy) -> None:
        post(message, "jobs", "a")
        claim = take(message, "jobs", ttl=120, grace=60)
        found = message.get_claim("jobs", claim.id)
        assert (found.ttl, found.age, [held["body"] for held in found.messages]) == (
            120,
            0,
            ["a"],
        )

    def test_a_limit_in_the_body_is_honoured(self, message: Proxy) -> None:
        post(message, "jobs", *range(3))
        claim = take(message, "jobs", ttl=120, grace=60, limit=2)
        assert len(claim.messages) == 2

    def test_a_claim_is_renewed_for_longer(self, message: Proxy) -> None:
        post(message, "jobs", "a")
        claim = take(message, "jobs", ttl=120, grace=60)
        message.update_claim("jobs", claim, ttl=600, grace=120)
        assert message.get_claim("jobs", claim.id).ttl == 600
        message.update_claim("jobs", claim.id, ttl=60)
        assert message.get_claim("jobs", claim.id).ttl == 60

    def test_a_released_claim_gives_its_messages_back(self, message: Proxy) -> None:
        post(message, "jobs", "a", "b")
        claim = take(message, "jobs", ttl=120, grace=60)
        message.delete_claim("jobs", claim)
        message.delete_claim("jobs", claim.id, ignore_missing=False)
        with pytest.raises(exceptions.NotFoundException):
            message.get_claim("jobs", claim.id)
        again = take(message, "jobs", ttl=120, grace=60)
        assert [held["body"] for held in again.messages] == ["a", "b"]


def test_the_project_header_left_empty_is_a_bad_request(server: ServerProcess) -> None:
    endpoint = f"{server.url}/v2"
    with (
        connect(endpoint, noauth.NoAuth(endpoint=endpoint)) as proxy,
        pytest.raises(exceptions.BadRequestException),
    ):
        proxy.create_queue(name="jobs")


HOOK = "https://hooks.example.net/in"


class TestSubscriptions:
    def test_the_life_of_a_subscription(self, message: Proxy) -> None:
        made = message.create_subscription(
            "jobs", subscriber=HOOK, ttl=2**36, options={"post_data": "x"}
        )
        found = message.get_subscription("jobs", made.subscription_id)
        assert (found.subscriber, found.ttl, found.source) == (HOOK, 2**36, "jobs")
        assert found.options == {"post_data": "x"}
        message.delete_subscription("jobs", made.subscription_id)
        with pytest.raises(exceptions.NotFoundException):
            message.get_subscription("jobs", made.subscription_id)
        message.delete_subscription("jobs", made.subscription_id)

    def test_lists_go_to_their_end(self, message: Proxy) -> None:
        made = {
            message.create_subscription("jobs", subscriber=f"{HOOK}/{number}").subscription_id
            for number in range(25)
        }
        assert {one.id for one in message.subscriptions("jobs")} == made
