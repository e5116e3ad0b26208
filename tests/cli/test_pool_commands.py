"""``nuska pool``, ``nuska flavor`` and ``nuska queue move`` against a server with pools."""

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from nuska.client import ADMIN, NewMessage
from nuska.client.blocking import BlockingClient
from nuska.testing.server_process import ServerProcess

SWEPT_WITHIN = 30.0
"""Seconds; several times in one, but the machine may be busy."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("data")
    with ServerProcess(data, "--pooling", "--admin-mode") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_stays(nuska: Any) -> Iterator[None]:
    """No test leaves a queue or a pool behind."""
    yield
    with BlockingClient(nuska.url, project=nuska.project, headers=ADMIN) as client:
        for queue in client.queues():
            client.queue(queue.name).delete()
        for flavor in client.flavors():
            client.flavor(flavor.name).delete()
        for pool in client.pools():
            client.pool(pool.name).delete()


def uri(nuska: Any, name: str) -> str:
    return f"sqlite://{nuska.directory / name}.db"


def test_the_life_of_a_pool(nuska, here):
    assert here("pool", "list").stderr == "No pools.\n"
    put = here("pool", "put", "a", uri(nuska, "a"), "--weight", "7", "--option", "rack=3")
    assert (put.returncode, put.stdout, put.stderr) == (0, "", "Pool a is there.\n")
    assert here("pool", "list").stdout == f"NAME\tWEIGHT\tFLAVOR\tURI\na\t7\t\t{uri(nuska, 'a')}\n"
    shown = json.loads(here("pool", "show", "a", "--json").stdout)
    assert (shown["weight"], shown["options"]) == (7, {"rack": 3})
    assert here("pool", "delete", "a", "a").stderr == "Pool a is gone.\n" * 2
    gone = here("pool", "show", "a")
    assert (gone.returncode, gone.stderr) == (
        1, "nuska: Not found: There is no pool named a.\n"
    )  # fmt: skip


def test_a_uri_can_come_where_nobody_sees_it(nuska):
    assert nuska("pool", "put", "a", stdin=f"{uri(nuska, 'a')}\n").returncode == 0
    assert nuska("pool", "list").stdout.startswith("NAME\tWEIGHT\tFLAVOR\tURI\na\t100\t")


def test_the_life_of_a_flavor(nuska, here):
    for name in "ab":
        here("pool", "put", name, uri(nuska, name))
    assert here("flavor", "list").stderr == "No flavors.\n"
    assert here("flavor", "put", "fast", "a", "b").stderr == "Flavor fast has the pools a, b.\n"
    assert here("flavor", "list").stdout == "NAME\tPOOLS\nfast\ta b\n"
    assert "FIFO" in here("flavor", "list", "--detailed").stdout
    refused = here("flavor", "put", "fast", "nobody")
    assert (refused.returncode, refused.stderr) == (
        1, "nuska: Unable to create: There is no pool named nobody.\n"
    )  # fmt: skip
    assert here("flavor", "delete", "fast").stderr == "Flavor fast is gone.\n"
    assert here("pool", "list").stdout.count("fast") == 0


def test_a_pool_is_changed_without_saying_all_of_it_again(nuska, here):
    here("pool", "put", "a", uri(nuska, "a"), "--weight", "5", "--option", "k=1")
    changed = here("pool", "update", "a", "--weight", "7")
    assert (changed.returncode, changed.stderr) == (0, "Pool a is changed.\n")
    shown = here("pool", "show", "a").stdout
    assert "7" in shown
    assert "k" in shown
    nothing = here("pool", "update", "a")
    assert nothing.returncode == 2
    assert "Say what is to change" in nothing.stderr


def test_a_move_to_where_the_queue_lies_says_that_no_message_had_to(nuska, jobs):
    nuska("pool", "put", "a", uri(nuska, "a"))
    jobs.post_many([NewMessage(body=1)])
    moved = nuska("queue", "move", "jobs", "--to", "a")
    assert (moved.returncode, moved.stderr) == (
        0, "Queue jobs lies in pool a; no message had to be moved.\n"
    )  # fmt: skip


def test_it_is_said_in_which_pool_a_queue_lies(nuska, jobs):
    jobs.post(1)
    at_home = nuska("queue", "pool", "jobs")
    assert (at_home.returncode, at_home.stdout) == (0, "")
    assert "the catalogue's own store" in at_home.stderr
    nuska("pool", "put", "a", uri(nuska, "a"))
    nuska("queue", "move", "jobs", "--to", "a")
    there = nuska("queue", "pool", "jobs")
    assert (there.returncode, there.stdout, there.stderr) == (0, "a\n", "")
    shown = json.loads(nuska("queue", "pool", "jobs", "--json").stdout)
    assert shown == {"name": "jobs", "pool": "a", "moving_to": None}
    assert nuska("queue", "pool", "nobody").returncode == 1


def test_a_pool_is_drained_and_then_it_can_go(nuska, jobs):
    nuska("pool", "put", "a", uri(nuska, "a"))
    jobs.post_many([NewMessage(body=number) for number in range(250)])
    held = nuska("pool", "delete", "a")
    assert held.returncode == 1
    assert "250 messages lie in the pool a, queues that hold some: 1." in held.stderr
    nuska("pool", "put", "b", uri(nuska, "b"))
    drained = nuska("pool", "drain", "a")
    assert (drained.returncode, drained.stdout) == (0, "")
    assert "Pool a is empty: 1 queue with 250 messages moved in " in drained.stderr
    assert nuska("pool", "delete", "a").returncode == 0
    assert [message.body for message in jobs.messages()] == list(range(250))


def test_a_queue_moves_and_the_end_can_be_read_by_machines(nuska, jobs):
    nuska("pool", "put", "a", uri(nuska, "a"))
    jobs.post_many([NewMessage(body=number) for number in range(3)])
    nuska("pool", "put", "b", uri(nuska, "b"))
    begun = nuska("queue", "move", "jobs", "--to", "b", "--detach")
    assert (begun.returncode, begun.stderr) == (
        0, "It is under way; the same command without --detach shows how far.\n"
    )  # fmt: skip
    done = nuska("queue", "move", "jobs", "--to", "b", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert (shown["to"], shown["state"], shown["messages_left"]) == ("b", "done", 0)
    assert [message.body for message in jobs.messages()] == [0, 1, 2]


def test_metrics_name_pools_and_not_where_they_are(nuska, here):
    here("pool", "put", "a", uri(nuska, "a"))
    deadline = time.monotonic() + SWEPT_WITHIN
    while 'nuska_pool_up{pool="a"} 1.0\n' not in (shown := metrics(nuska.url)):
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)
    assert "nuska_moved_messages_total " in shown
    assert str(nuska.directory) not in shown


def metrics(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=SWEPT_WITHIN) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("queue move jobs --to nowhere", "There is no pool named nowhere."),
        ("queue move nobody --to a", "There is no queue named nobody."),
        ("pool drain nowhere", "There is no pool named nowhere."),
        ("pool drain a --to a", "There is no other pool named a."),
        ("pool put b nothing://there", "Unable to create pool: The pool's uri cannot be opened"),
    ],
)
def test_what_cannot_be_done_says_why(nuska, here, command, sentence):
    here("pool", "put", "a", uri(nuska, "a"))
    here("queue", "create", "jobs")
    done = here(*command.split())
    assert done.returncode == 1
    assert sentence in done.stderr


@pytest.mark.parametrize("command", ["pool delete", "flavor delete", "flavor put fast"])
def test_a_command_about_nothing_is_not_understood(here, command):
    done = here(*command.split())
    assert done.returncode == 2
    assert done.stderr.startswith("nuska: Give the name of a ")
