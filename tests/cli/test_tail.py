"""``nuska tail``: messages as they are posted."""

import json
import signal

import pytest

from nuska.client.blocking import BlockingClient, BlockingQueue

PATIENCE = 60.0
"""Seconds."""


@pytest.fixture
def posted(nuska, jobs: BlockingQueue) -> list[str]:
    """Ids of messages that were posted while somebody listened, so that the server keeps them
    for those who come later."""
    with (
        BlockingClient(nuska.url, project=nuska.project) as client,
        client.subscribe(jobs.name),
    ):
        return [jobs.post({"number": number}) for number in range(4)]


def test_it_goes_on_after_a_message_and_ends_after_so_many(here, posted: list[str]) -> None:
    done = here("tail", "jobs", "--since", posted[0], "--limit", "2", "--json")
    assert done.returncode == 0
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [message["id"] for message in shown] == posted[1:3]
    assert shown[0]["body"] == {"number": 1}
    assert shown[0]["queue"] == "jobs"
    assert shown[0]["marker"]


def test_the_last_marker_leads_on(here, posted: list[str]) -> None:
    first = here("tail", "jobs", "--since", posted[0], "--limit", "1", "--json")
    marker = json.loads(first.stdout)["marker"]
    second = here("tail", "jobs", "--since", marker, "--limit", "1", "--json")
    assert json.loads(second.stdout)["body"] == {"number": 2}


def test_a_filter_leaves_out_the_rest(here, posted: list[str]) -> None:
    wanted = '{"body": {"number": [{"numeric": [">", 2]}]}}'
    done = here("tail", "jobs", "--since", posted[0], "--filter", wanted, "--limit", "1")
    lines = done.stdout.splitlines()
    assert lines[0].split("\t") == ["QUEUE", "ID", "BODY"]
    assert lines[1].split("\t") == ["jobs", posted[3], '{"number": 3}']


def test_a_topic_is_followed_too(nuska, here) -> None:
    with BlockingClient(nuska.url, project=nuska.project) as client:
        with client.subscribe(topic="news") as live:
            first = client.topic("news").publish("first")
            client.topic("news").publish("second")
            client.queue("news").post("of the queue")
            assert [next(live).body, next(live).body] == ["first", "second"]
        done = here("tail", "--topic", "news", "--since", first, "--limit", "1", "--json")
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    assert (shown["queue"], shown["body"]) == ("news", "second")


def test_what_the_server_has_not_kept_is_said_to_be_missing(nuska, jobs: BlockingQueue) -> None:
    first = jobs.post(1)
    jobs.post(2)
    process = nuska.start("tail", "jobs", "--since", first, "--json")
    try:
        assert json.loads(process.stdout.readline())["gap"]["queue"] == "jobs"
    finally:
        process.kill()
        process.communicate()


def test_it_shows_what_is_posted_until_it_is_interrupted(nuska, jobs: BlockingQueue) -> None:
    process = nuska.start("tail", "jobs", "news")
    try:
        assert process.stderr.readline() == "Following jobs, news.\n"
        jobs.post("hello \x1b[31m")
        assert process.stdout.readline().split("\t") == ["QUEUE", "ID", "BODY\n"]
        assert process.stdout.readline().endswith('\t"hello \\u001b[31m"\n')
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Give the name of a queue, or a topic's with --topic."),
        (["jobs", "--topic", "news"], "Give the name of a queue, or a topic's with --topic."),
        (["a", "b", "--since", "1"], "--since is a marker of one queue; name one."),
        (["jobs", "--limit", "0"], "--limit must be more than 0."),
        (["jobs", "--filter", "[1]"], "--filter must be a JSON object."),
        (["jobs", "--filter", "{"], "--filter must be a JSON object."),
    ],
)
def test_what_cannot_be_meant_is_refused(here, arguments: list[str], complaint: str) -> None:
    done = here("tail", *arguments)
    assert done.returncode == 2
    assert done.stderr == f"nuska: {complaint}\n"


def test_a_filter_that_the_server_refuses_ends_it(here) -> None:
    done = here("tail", "jobs", "--filter", '{"body": {"number": 1}}')
    assert done.returncode == 1
    assert done.stderr.startswith("nuska: ")


def test_a_server_that_is_not_there_is_said_to_be(nuska) -> None:
    done = nuska("tail", "jobs", "--url", "http://127.0.0.1:9", "--timeout", "1")
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stderr
