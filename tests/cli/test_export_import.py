"""``nuska queue export`` and ``import``: what comes back, what is refused, what is not doubled."""

import json
import os
import pty
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from nuska.cli.export_format import Seal
from nuska.client import NewMessage
from nuska.client.blocking import BlockingClient
from nuska.domain.moments import Moment, iso
from nuska.system import SystemClock
from nuska.testing.server_process import ServerProcess

MANY = 40_000
"""Messages: their file alone is twice what a command may take for them."""
ODD_BODIES = [
    b'{"a": 1.10, "a":2,\n  "b" :[ ]}',
    b"null",
    b'"\\ud83d\\ude00 \xc3\xa9 \xe2\x80\xa8 \xc2\x85"',
    b"-9223372036854775808",
    b"1E+2",
    b'"line\\nbreak"',
]


def post_raw(nuska, queue: str, body: bytes) -> None:
    request = urllib.request.Request(
        f"{nuska.url}/v2/queues/{queue}/messages",
        data=b'{"messages": [{"body": %s}]}' % body,
        headers={
            "Content-Type": "application/json",
            "X-Project-Id": nuska.project,
            "Client-ID": "0f8fad5b-d9cb-469f-a165-70867728950e",
        },
    )
    urllib.request.urlopen(request).close()


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def exported(nuska, queue: str = "jobs") -> str:
    done = nuska("queue", "export", queue)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bodies(text: str) -> list[bytes]:
    class Line(msgspec.Struct):
        body: msgspec.Raw

    messages = text.encode().split(b"\n")[1:-2]
    return [bytes(msgspec.json.decode(line, type=Line).body) for line in messages]


def by_hand(*messages: dict, metadata: dict | None = None, end: dict | None = None) -> str:
    """An export of these messages; what is left out of one is that of a fresh message."""
    now = SystemClock().now()
    head = {"nuska-queue": 1, "export": "by-hand", "queue": "jobs", "exported": iso(now)}
    seal = Seal()
    texts = [json.dumps({**head, "metadata": metadata or {}})]
    for message in messages:
        fresh = {"id": "x", "ttl": 600, "age": 0, "expires": iso(Moment(now + 600_000)), "body": 1}
        texts.append(json.dumps(fresh | message))
    for text in texts:
        seal.add(text.encode())
    seal.messages = len(messages)
    texts.append(json.dumps(msgspec.to_builtins(seal.end()) | (end or {})))
    return "".join(f"{text}\n" for text in texts)


def test_a_queue_comes_back_in_order_with_all_there_is_to_it(nuska, jobs) -> None:
    jobs.create({"_default_message_delay": 30, "team": "shop"})
    jobs.post_many([NewMessage(body=n, ttl=100 + n, delay=0) for n in range(250)])
    jobs.post("later", delay=90, attributes={"lang": "en"})
    with jobs.claim(limit=5) as claim:
        assert len(claim) == 5
        text = exported(nuska)
    head, *messages, end = lines(text)
    assert head["metadata"] == {"_default_message_delay": 30, "team": "shop"}
    assert [message.get("claimed", False) for message in messages[:6]] == [True] * 5 + [False]
    assert 80 <= messages[-1]["delay"] <= 90
    assert end["messages"] == 251

    done = nuska("queue", "import", "copy", stdin=text)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "251 messages imported into queue copy.\n"
    copied = lines(exported(nuska, "copy"))
    assert copied[0]["metadata"] == head["metadata"]
    assert [message["body"] for message in copied[1:-1]] == [*range(250), "later"]
    assert copied[-2]["attributes"] == {"lang": "en"}
    assert 70 <= copied[-2]["delay"] <= 90
    for before, after in zip(messages[5:250], copied[6:251], strict=True):
        assert 0 <= before["ttl"] - after["ttl"] < 30
        assert "delay" not in after


def test_bodies_are_what_was_posted_byte_for_byte(nuska) -> None:
    for body in ODD_BODIES:
        post_raw(nuska, "jobs", body)
    text = exported(nuska)
    assert bodies(text) == [body.replace(b"\n", b" ") for body in ODD_BODIES]
    assert nuska("queue", "import", "copy", stdin=text).returncode == 0
    assert bodies(exported(nuska, "copy")) == bodies(text)


def test_what_the_service_wrote_into_attributes_is_not_imported(nuska) -> None:
    dead = {"dead_delivery": {"origin": "jobs"}, "a": 1.50}
    text = by_hand({"attributes": dead}, {"attributes": {"_hops": 1}}, {"attributes": {"_hop": 1}})
    assert nuska("queue", "import", "copy", stdin=text).returncode == 0
    imported = lines(exported(nuska, "copy"))[1:-1]
    assert [message["attributes"] for message in imported] == [{"a": 1.5}, {}, {"_hop": 1}]


def test_an_import_done_again_doubles_nothing(nuska, jobs, tmp_path: Path) -> None:
    jobs.post_many([NewMessage(body=n) for n in range(230)])
    (tmp_path / "jobs.jsonl").write_text(exported(nuska))
    first = nuska("queue", "import", "copy", "jobs.jsonl")
    assert first.stderr == "230 messages imported into queue copy.\n"
    again = nuska("queue", "import", "copy", "jobs.jsonl", "--json")
    assert json.loads(again.stdout) == {
        "name": "copy", "created": False, "imported": 0, "expired": 0, "repeated": 230,
        "undelayed": 0,
    }  # fmt: skip
    told = nuska("queue", "import", "copy", "jobs.jsonl").stderr.splitlines()
    assert "230 messages left out: an import within ten minutes has stored them." in told
    assert "Queue copy existed already; its metadata are unchanged." in told
    assert [line["body"] for line in lines(exported(nuska, "copy"))[1:-1]] == list(range(230))


@pytest.mark.parametrize("again", [(), ("--after", "201")], ids=["the same again", "--after"])
def test_an_import_that_broke_off_goes_on_without_doubling(nuska, jobs, again) -> None:
    jobs.post_many([NewMessage(body=n) for n in range(350)])
    text = exported(nuska)
    cut = "".join(text.splitlines(keepends=True)[:260])
    broken = nuska("queue", "import", "copy", stdin=cut)
    assert broken.returncode == 1
    assert broken.stderr == (
        "nuska: The import stopped: it is cut off: its last line is missing. The messages up to "
        "line 201 are in the queue; go on with --after 201. Within ten minutes the same command "
        "as before does, too.\n"
    )
    assert nuska("queue", "import", "copy", *again, stdin=text).returncode == 0
    assert [line["body"] for line in lines(exported(nuska, "copy"))[1:-1]] == list(range(350))


def test_what_has_expired_is_left_out_and_counted_unless_it_is_renewed(nuska) -> None:
    past = iso(Moment(SystemClock().now() - 5_000))
    soon = iso(Moment(SystemClock().now() + 20_000))
    text = by_hand(
        {"body": "gone", "expires": past},
        {"body": "soon", "expires": soon},
        {"body": "fresh"},
    )
    done = nuska("queue", "import", "jobs", stdin=text)
    assert done.stderr.splitlines()[:2] == [
        "2 messages imported into queue jobs.",
        "1 message left out: their ttl has ended.",
    ]
    soon_line, fresh_line = lines(exported(nuska))[1:-1]
    assert (soon_line["body"], soon_line["ttl"]) == ("soon", 60)
    assert 570 < fresh_line["ttl"] <= 600
    assert nuska("queue", "import", "renewed", "--renew", stdin=text).returncode == 0
    renewed = lines(exported(nuska, "renewed"))[1:-1]
    assert [(line["body"], line["ttl"]) for line in renewed] == [
        ("gone", 600), ("soon", 600), ("fresh", 600)
    ]  # fmt: skip


def test_a_queue_that_exists_keeps_its_metadata_and_what_it_cannot_do_is_said(nuska, jobs) -> None:
    jobs.create({"team": "mine"})
    text = by_hand({"delay": 60}, {}, metadata={"team": "theirs", "_default_message_delay": 9})
    done = nuska("queue", "import", "jobs", stdin=text)
    assert done.returncode == 0
    assert "1 message can be claimed at once instead of later" in done.stderr
    assert "existed already; its metadata are unchanged" in done.stderr
    assert jobs.metadata()["team"] == "mine"
    assert nuska("queue", "import", "plain", "--no-metadata", stdin=text).returncode == 0
    assert "team" not in json.loads(nuska("queue", "show", "plain", "--json").stdout)


def test_metadata_that_the_server_does_not_take_are_named(nuska) -> None:
    text = by_hand({}, metadata={"_default_message_ttl": 1})
    done = nuska("queue", "import", "jobs", stdin=text)
    assert done.returncode == 1
    assert "_default_message_ttl" in done.stderr
    assert "--no-metadata leaves them out" in done.stderr
    assert "Nothing is imported" in done.stderr


def spoilt(*changes: tuple[int, str | None]) -> str:
    """An export of three messages with these lines changed, or left out."""
    texts: list[str | None] = list(by_hand({}, {}, {}).splitlines())
    for index, text in changes:
        texts[index] = text
    return "".join(f"{text}\n" for text in texts if text is not None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is nothing in it"),
        ("hello\n", "line 1: this is not the beginning of an exported queue"),
        (spoilt((0, None)), "line 1: this is not the beginning"),
        (
            '{"nuska-queue": 2, "export": "", "queue": "", "exported": "", "metadata": {}}\n',
            "line 1: it was exported by a newer release (format 2; this one knows 1)",
        ),
        (spoilt((2, "{}")), "line 3: this is not a message"),
        (spoilt((2, "{no json")), "line 3: this is not a message"),
        (spoilt((2, "")), "line 3: this is not a message"),
        (
            spoilt((3, '{"body": 1, "ttl": 60, "age": 0, "expires": "soon"}')),
            "line 4: this is not a message",
        ),
        (
            spoilt((3, '{"body": 1, "ttl": "60", "age": 0, "expires": "2031-01-01T00:00:00Z"}')),
            "line 4: this is not a message (Expected `int`, got `str` - at `$.ttl`)",
        ),
        (spoilt((2, None)), "line 4: lines before it were lost or changed"),
        (spoilt((4, None)), "it is cut off: its last line is missing"),
        (by_hand({}) + by_hand({}), "line 4: the export has ended before it"),
        (by_hand({}, end={"messages": 2}), "line 3: lines before it were lost or changed"),
        (by_hand({}, end={"sha256": "0"}), "line 3: lines before it were lost or changed"),
    ],
)
def test_of_a_file_that_is_not_whole_nothing_is_imported(
    nuska, here, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "file.jsonl"
    file.write_text(text)
    done = here("queue", "import", "jobs", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith(f"nuska: Nothing is imported: {said}")
    assert here("queue", "list").stdout == ""


def test_a_body_that_the_server_refuses_names_the_lines(nuska) -> None:
    text = by_hand({}, {"body": 2**70}, {})
    done = nuska("queue", "import", "jobs", stdin=text)
    assert done.returncode == 1
    assert "lines 2 to 4 are not taken" in done.stderr


def test_a_message_as_large_as_a_post_may_be_can_be_imported(nuska, jobs) -> None:
    jobs.create({"_max_messages_post_size": 1000})
    largest = "x" * (1000 - len('{"messages":[{"body":"","ttl":1000}]}'))
    jobs.post(largest, ttl=1000)
    jobs.post("small")
    done = nuska("queue", "import", "copy", stdin=exported(nuska))
    assert (done.returncode, done.stderr) == (0, "2 messages imported into queue copy.\n")


def test_an_export_reaches_its_file_whole_or_not_at_all(nuska, jobs, tmp_path: Path) -> None:
    nothing = nuska("queue", "export", "nosuch", "--output", "nosuch.jsonl")
    assert (nothing.returncode, nothing.stderr) == (1, "nuska: There is no queue nosuch.\n")
    jobs.post(1)
    done = nuska("queue", "export", "jobs", "--output", "jobs.jsonl")
    assert (done.stdout, done.stderr) == ("", "1 message of queue jobs exported.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.jsonl"]
    assert (tmp_path / "jobs.jsonl").stat().st_mode & 0o777 == 0o600
    again = nuska("queue", "export", "jobs", "--output", "jobs.jsonl")
    assert again.returncode == 1
    assert again.stderr == "nuska: jobs.jsonl cannot be written: jobs.jsonl is there already.\n"
    assert nuska("queue", "export", "jobs", "--output", "jobs.jsonl", "--force").returncode == 0


def test_an_empty_queue_can_be_carried_over(nuska, jobs) -> None:
    jobs.create({"team": "shop"})
    done = nuska("queue", "import", "copy", stdin=exported(nuska))
    assert done.stderr == "0 messages imported into queue copy.\n"
    assert '"team": "shop"' in nuska("queue", "show", "copy", "--json").stdout


def test_a_reader_that_goes_away_ends_the_export(nuska, jobs) -> None:
    jobs.post_many([NewMessage(body="x" * 1000) for _ in range(200)])
    command = f"{sys.executable} -m nuska queue export jobs | head -c 10; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=nuska.environment
    )
    assert done.stdout == '{"nuska-qu141\n'
    assert done.stderr == ""


def test_an_export_does_not_go_to_a_terminal(nuska, jobs) -> None:
    jobs.post(1)
    terminal, end = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "nuska", "queue", "export", "jobs"],
        stdout=end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=nuska.environment,
    )
    os.close(end)
    os.close(terminal)
    assert done.returncode == 2
    assert "--output FILE" in done.stderr


def test_a_queue_in_use_is_exported_with_each_message_once(nuska, jobs) -> None:
    """I15: what is there throughout is seen once; others post, claim, release and delete."""
    stay = jobs.post_many([NewMessage(body="stays") for _ in range(2000)])
    over = threading.Event()

    def use() -> None:
        with BlockingClient(nuska.url, project=nuska.project) as client:
            queue = client.queue("jobs")
            while not over.is_set():
                gone = queue.post_many([NewMessage(body="comes and goes") for _ in range(50)])
                with queue.claim(limit=20):
                    pass  # released by the end of the block
                queue.delete_messages(gone[::2])

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    try:
        seen = [line["id"] for line in lines(exported(nuska))[1:-1]]
    finally:
        over.set()
        for user in users:
            user.join()
    assert len(seen) == len(set(seen))
    assert [one for one in seen if one in set(stay)] == stay


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as running:
        yield running


@pytest.mark.slow
def test_many_messages_take_no_more_memory_than_a_few(
    nuska, durable: ServerProcess, tmp_path: Path
) -> None:
    measured = (
        "import resource, sys; from nuska.cli import run; code = run(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr);"
        "sys.exit(code)"
    )

    def kilobytes(*arguments: str, url: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", measured, "queue", *arguments, "--url", url],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=nuska.environment,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stderr.splitlines()[-1])

    with BlockingClient(nuska.url, project=nuska.project) as client:
        for name, count in (("few", 200), ("many", MANY)):
            drafts = (NewMessage(body=[n, "x" * 300]) for n in range(count))
            for _ in client.queue(name).post_in_batches(drafts, count=500):
                pass
    few = kilobytes("export", "few", "--output", "few.jsonl", url=nuska.url)
    many = kilobytes("export", "many", "--output", "many.jsonl", url=nuska.url)
    assert (tmp_path / "many.jsonl").stat().st_size > 400 * MANY
    assert many - few < 10_000
    few = kilobytes("import", "few", "few.jsonl", url=durable.url)
    many = kilobytes("import", "many", "many.jsonl", url=durable.url)
    assert many - few < 10_000
    with BlockingClient(durable.url, project=nuska.project) as client:
        assert client.queue("many").stats().total == MANY
