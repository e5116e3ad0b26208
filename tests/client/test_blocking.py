"""The blocking face does what the asynchronous client does, without an event loop in sight."""

import inspect
import threading
import uuid
from collections.abc import Iterator

import pytest

from nuska.client import ClaimLost, Client, NewMessage, NotFound, Queue
from nuska.client.blocking import BlockingClient, BlockingQueue
from nuska.testing.server_process import ServerProcess
from nuska.testing.timing import ManualTiming

ONLY_ASYNC = {"href", "post_encoded", "max_post_size", "timing"}
"""Building blocks that the blocking face has no use for of its own."""


@pytest.fixture(scope="module")
def nuska(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("data"), store="memory:") as running:
        yield running


@pytest.fixture
def client(nuska: ServerProcess) -> Iterator[BlockingClient]:
    with BlockingClient(nuska.url, project=f"project-{uuid.uuid4().hex}") as client:
        yield client


@pytest.fixture
def jobs(client: BlockingClient) -> BlockingQueue:
    return client.queue("jobs")


def public(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters) if callable(member) else []
        for name, member in inspect.getmembers(kind)
        if not name.startswith("_") and name not in ONLY_ASYNC
    }


@pytest.mark.parametrize(("face", "original"), [(BlockingQueue, Queue), (BlockingClient, Client)])
def test_every_call_is_there_with_the_same_arguments(face, original):
    attributes = {"project", "client_id"}  # of instances in one, properties in the other
    ours = {name: args for name, args in public(face).items() if name not in attributes}
    assert ours == public(original)


def test_queues_and_messages_without_an_event_loop(client, jobs):
    assert jobs.create({"a": 1}) is True
    ids = jobs.post_many([NewMessage(body=number) for number in range(25)])
    assert [message.body for message in jobs.messages(page=10)] == list(range(25))
    assert jobs.message(ids[3]).body == 3
    jobs.delete_message(ids[3])
    with pytest.raises(NotFound):
        jobs.message(ids[3])
    assert [message.body for message in jobs.pop(2)] == [0, 1]
    assert jobs.stats().total == 22
    assert jobs.update({"b": 2}, remove=["a"])["b"] == 2
    assert [entry.name for entry in client.queues()] == ["jobs"]
    assert client.count_queues() == 1
    batches = list(jobs.post_in_batches((NewMessage(body=n) for n in range(5)), count=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    jobs.purge()
    assert jobs.messages().all() == []
    jobs.delete()
    client.ping()


def test_a_claim_gives_back_what_was_not_deleted(jobs):
    jobs.post_many([NewMessage(body=number) for number in range(3)])
    with jobs.claim(limit=3) as claim:
        first, second, _ = claim
        first.delete()
        assert jobs.stats().claimed == 2
        assert (len(claim), second.body, claim.lost) == (2, 1, False)
    assert [message.body for message in jobs.messages()] == [1, 2]
    with pytest.raises(ZeroDivisionError), jobs.claim(limit=3):
        raise ZeroDivisionError
    assert jobs.stats().free == 2
    with jobs.claim(limit=3) as claim:
        claim.delete_all()
    assert jobs.stats().total == 0


def test_a_claim_is_renewed_while_the_program_works(nuska):
    time = ManualTiming(hurry=True)  # a third of the claim's life is over at once, every time
    with BlockingClient(
        nuska.url, project=f"project-{uuid.uuid4().hex}", timing=time.timing
    ) as client:
        jobs = client.queue("jobs")
        jobs.post(1)
        with jobs.claim(ttl=90) as claim:
            while time.now < 900:
                pass
            assert not claim.lost
            (message,) = claim
            message.delete()
    assert set(time.slept) == {30}


def test_a_lost_claim_is_told_at_the_end_of_its_block(nuska):
    time = ManualTiming(hurry=True)
    with BlockingClient(
        nuska.url, project=f"project-{uuid.uuid4().hex}", timing=time.timing
    ) as client:
        jobs = client.queue("jobs")
        jobs.post(1)
        claim = jobs.claim(ttl=90)

        def work():
            with claim:
                jobs.release_claim(claim.id)
                while not claim.lost:
                    pass

        with pytest.raises(ClaimLost):
            work()


def test_the_single_calls_for_claims(jobs):
    jobs.post(1)
    claim = jobs.create_claim(ttl=90)
    jobs.renew_claim(claim.id, ttl=600)
    assert jobs.show_claim(claim.id).ttl == 600
    jobs.release_claim(claim.id)
    assert jobs.create_claim().messages[0].body == 1


def test_threads_share_a_client(jobs):
    threads = [threading.Thread(target=jobs.post, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(message.body for message in jobs.messages()) == list(range(20))


def test_a_closed_client_leaves_no_thread_behind(nuska):
    before = threading.active_count()
    with BlockingClient(nuska.url, project="shop") as client:
        client.ping()
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="with BlockingClient"):
        client.ping()


def test_a_call_after_the_block_says_that_the_client_is_closed(nuska):
    with BlockingClient(nuska.url, project="over") as client:
        jobs = client.queue("jobs")
    with pytest.raises(RuntimeError, match="this client is not open"):
        jobs.post("too late")
