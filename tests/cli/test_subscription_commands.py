"""``nuska subscription`` and ``nuska topic`` against a server, and the client below them."""

import json
from typing import Any

import pytest

from nuska.client import Client, Conflict, NewMessage, NotFound
from nuska.client.blocking import BlockingClient

HOOK = "https://hooks.example.net/in"


def test_the_life_of_a_subscription(here: Any) -> None:
    assert here("subscription", "list", "jobs").stderr == "No subscriptions.\n"
    made = here("subscription", "create", "jobs", HOOK, "--ttl", "90", "--option", "ordered=true")
    assert (made.returncode, made.stderr) == (0, "")
    id_ = made.stdout.strip()
    again = here("subscription", "create", "jobs", HOOK, "--json")
    assert json.loads(again.stdout) == {"subscription_id": id_}
    lines = here("subscription", "list", "jobs").stdout.splitlines()
    assert lines[0] == "ID\tSUBSCRIBER\tTTL\tAGE\tCONFIRMED\tSTATE"
    assert lines[1].split("\t")[:3] == [id_, HOOK, "90"]
    assert lines[1].endswith("\tno\tactive")
    changed = here("subscription", "update", "jobs", id_, "--ttl", "600")
    assert changed.stderr == f"Subscription {id_} changed.\n"
    shown = json.loads(here("subscription", "show", "jobs", id_, "--json").stdout)
    assert (shown["ttl"], shown["options"], shown["source"]) == (600, {"ordered": True}, "jobs")
    here("subscription", "confirm", "jobs", id_)
    refused = here("subscription", "create", "jobs", HOOK)
    assert refused.returncode != 0
    assert "confirmed" in refused.stderr
    here("subscription", "confirm", "jobs", id_, "--no")
    row = here("subscription", "list", "jobs").stdout.splitlines()[1]
    assert row.endswith("\tno\tdisabled: The subscriber does not want to be told any more.")
    for _ in range(2):
        gone = here("subscription", "delete", "jobs", id_)
        assert gone.stderr == f"Subscription {id_} deleted.\n"
    assert here("subscription", "show", "jobs", id_).returncode != 0


def test_one_who_has_to_answer_is_said_to_wait_at_once_and_everywhere(here: Any) -> None:
    made = here("subscription", "create", "jobs", "mailto:ann@example.org")
    id_, why = made.stdout.strip(), "the server sends no mail: smtp_mode is off"
    sentence = f"It cannot be asked to confirm, and is sent nothing: {why}.\n"
    assert made.stderr == sentence
    row = here("subscription", "list", "jobs").stdout.splitlines()[1]
    assert row.endswith(f"\tno\tcannot be asked: {why}")
    shown = json.loads(here("subscription", "show", "jobs", id_, "--json").stdout)
    assert shown["waiting"] == {"for": "confirmation", "problem": why}
    log = here("subscription", "log", "jobs", id_)
    assert log.stderr == f"Nothing was tried in that time.\n{sentence}"
    stats = json.loads(here("subscription", "stats", "jobs", id_, "--json").stdout)
    assert (stats["state"], stats["waiting"]["problem"]) == ("waiting", why)
    refused = here("subscription", "confirm", "jobs", id_)
    assert refused.returncode == 1
    assert "Only the subscriber can confirm" in refused.stderr


def test_options_come_from_files_too(here: Any, nuska: Any) -> None:
    (nuska.directory / "text").write_text('{"in": "$zaqar_message$"')
    (nuska.directory / "filter").write_text('{"body": {"state": ["failed"]}}')
    (nuska.directory / "all").write_text('{"ordered": true, "post_headers": {"X-A": "b"}}')
    file = str(nuska.directory / "text")
    made = here(
        "subscription", "create", "jobs", HOOK,
        "--option", f"@{nuska.directory / 'all'}",
        "--option", f"post_data=@{file}",
        "--option", f"filter=@{nuska.directory / 'filter'}",
    )  # fmt: skip
    id_ = made.stdout.strip()
    shown = json.loads(here("subscription", "show", "jobs", id_, "--json").stdout)
    assert shown["options"] == {
        "ordered": True,
        "post_headers": {"X-A": "b"},
        "post_data": '{"in": "$zaqar_message$"',
        "filter": {"body": {"state": ["failed"]}},
    }
    for option, complaint in [
        ("@nowhere", "nowhere cannot be read: No such file or directory."),
        ("post_data=@nowhere", "nowhere cannot be read: No such file or directory."),
        (f"@{file}", f"{file} is not a JSON object."),
    ]:
        refused = here("subscription", "create", "jobs", HOOK, "--option", option)
        assert (refused.returncode, refused.stderr) == (2, f"nuska: --option: {complaint}\n")


def test_a_disabled_one_is_enabled_unless_its_subscriber_has_left(here: Any, nuska: Any) -> None:
    [id_] = here("subscription", "create", "jobs", HOOK).stdout.split()
    again = here("subscription", "enable", "jobs", id_)
    assert again.stderr == f"nuska: Subscription {id_} is not disabled.\n"
    here("subscription", "confirm", "jobs", id_, "--no")
    left = here("subscription", "enable", "jobs", id_)
    assert left.returncode == 1
    assert "left by himself" in left.stderr


def test_the_life_of_a_topic(here: Any) -> None:
    assert here("topic", "list").stderr == "No topics.\n"
    assert here("topic", "create", "news", "team=press").stderr == "Topic news created.\n"
    assert here("topic", "create", "news").stderr == "Topic news was there already.\n"
    assert "team\t" in here("topic", "show", "news").stdout
    subscribed = here("subscription", "create", "news", "queue:work", "--topic")
    assert subscribed.returncode == 0
    assert here("subscription", "list", "news").stderr == "No subscriptions.\n"
    published = here("topic", "publish", "news", '{"a": 1}', "text", "--ttl", "90")
    assert len(published.stdout.split()) == 2
    assert published.stderr == "2 messages published to topic news.\n"
    assert json.loads(here("topic", "stats", "news", "--json").stdout)["total"] == 2
    assert here("topic", "purge", "news").stderr == "Topic news purged.\n"
    assert json.loads(here("topic", "stats", "news", "--json").stdout)["total"] == 0
    assert here("topic", "list").stdout == "NAME\nnews\n"
    assert here("topic", "delete", "news").stderr == "Topic news deleted.\n"
    assert here("topic", "list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("subscription", "update", "jobs", "0" * 24), "Say what to change"),
        (("subscription", "delete", "jobs"), "Give the id"),
        (("subscription", "create", "jobs", HOOK, "--option", "x"), "KEY=VALUE"),
        (("subscription", "create", "jobs", "ftp://x"), "must begin with one of"),
        (("topic", "publish", "news"), "Give a message"),
        (("topic", "delete"), "Give the name"),
    ],
)
def test_what_makes_no_sense_says_what_would(
    here: Any, arguments: tuple[str, ...], complaint: str
) -> None:
    done = here(*arguments)
    assert done.returncode != 0
    assert complaint in done.stderr


async def test_the_client_subscribes_lists_and_publishes(nuska: Any) -> None:
    async with Client(nuska.url, project=nuska.project) as client:
        jobs = client.queue("jobs").subscriptions
        ids = [await jobs.create(f"{HOOK}/{number}", ttl=2**36) for number in range(25)]
        assert [found.id async for found in jobs.list()] == sorted(ids)
        await jobs.update(ids[0], subscriber=HOOK, options={"a": 1})
        assert (await jobs.show(ids[0])).options == {"a": 1}
        with pytest.raises(Conflict):
            await jobs.update(ids[1], subscriber=HOOK)
        await jobs.confirm(ids[0])
        assert (await jobs.show(ids[0])).confirmed
        await jobs.delete(ids[0])
        with pytest.raises(NotFound):
            await jobs.show(ids[0])
        news = client.topic("news")
        await news.publish_many([NewMessage(body=1), NewMessage(body=2)])
        assert [message.body async for message in news.messages()] == [1, 2]
        assert [topic.name async for topic in client.topics()] == ["news"]
        await news.subscriptions.create("queue:jobs")
        assert (await news.subscriptions.list().all())[0].source == "news"


def test_the_blocking_client_does_the_same(nuska: Any) -> None:
    with BlockingClient(nuska.url, project=nuska.project) as client:
        jobs = client.queue("jobs").subscriptions
        id_ = jobs.create(HOOK, options={"post_data": "x"})
        jobs.update(id_, ttl=600)
        jobs.confirm(id_)
        [found] = jobs.list()
        assert (found.id, found.ttl, found.confirmed) == (id_, 600, True)
        jobs.delete(id_)
        assert list(jobs.list()) == []
        news = client.topic("news")
        assert news.create({"team": "press"})
        assert news.exists()
        assert news.update({"team": "web"})["team"] == news.metadata()["team"] == "web"
        news.publish({"a": 1})
        assert [message.body for message in news.messages()] == [{"a": 1}]
        assert news.stats().total == 1
        news.purge()
        assert [topic.name for topic in client.topics()] == ["news"]
        assert list(news.subscriptions.list()) == []
        news.delete()
