"""``nuska queue``, ``message`` and ``claim``: what they print, and how they end."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from nuska.client import NewMessage


def lines(text: str) -> list[object]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_life_of_a_queue(nuska):
    created = nuska("queue", "create", "jobs", "team=shop", "_max_claim_count=3")
    assert (created.returncode, created.stdout) == (0, "")
    assert created.stderr == "Queue jobs created.\n"
    again = nuska("queue", "create", "jobs", "team=other")
    assert again.stderr == "Queue jobs exists already; its metadata are unchanged.\n"
    shown = json.loads(nuska("queue", "show", "jobs", "--json").stdout)
    assert (shown["team"], shown["_max_claim_count"]) == ("shop", 3)
    changed = nuska("queue", "set", "jobs", "size=[1, 2]", "--remove", "team", "--json")
    assert json.loads(changed.stdout)["size"] == [1, 2]
    assert "team" not in json.loads(changed.stdout)
    deleted = nuska("queue", "delete", "jobs", "others")
    assert deleted.returncode == 0
    assert deleted.stderr == "Queue jobs deleted.\nThere was no queue others.\n"
    assert nuska("queue", "list").stderr == "No queues.\n"


def test_queues_are_listed_for_people_and_for_machines(nuska, jobs):
    jobs.create({"team": "shop"})
    nuska("queue", "create", "mail")
    assert nuska("queue", "list").stdout == "NAME\njobs\nmail\n"
    assert nuska("queue", "list", "--where", "team=shop").stdout == "NAME\njobs\n"
    assert nuska("queue", "list", "--limit", "1").stdout == "NAME\njobs\n"
    first, second = lines(nuska("queue", "list", "--detailed", "--json").stdout)
    assert (first["name"], first["metadata"]["team"]) == ("jobs", "shop")
    assert (second["name"], second["href"]) == ("mail", "/v2/queues/mail")


def test_statistics_and_purge(nuska, jobs):
    ids = jobs.post_many([NewMessage(body=number) for number in range(3)])
    stats = json.loads(nuska("queue", "stats", "jobs", "--json").stdout)
    assert (stats["free"], stats["claimed"], stats["total"]) == (3, 0, 3)
    assert (stats["oldest"]["id"], stats["newest"]["id"]) == (ids[0], ids[2])
    assert nuska("queue", "purge", "jobs").returncode == 0
    assert "total\t0\n" in nuska("queue", "stats", "jobs").stdout
    nothing = nuska("queue", "purge", "nosuch", "jobs")
    assert (nothing.returncode, nothing.stderr) == (
        0,
        "There was no queue nosuch.\nQueue jobs purged.\n",
    )
    assert lines(nuska("queue", "purge", "nosuch", "jobs", "--json").stdout) == [
        {"name": "nosuch", "purged": False},
        {"name": "jobs", "purged": True},
    ]


def test_an_address_where_something_else_answers_is_said_to_be_one(nuska, here):
    done = here("queue", "list", "--url", f"{nuska.url}/elsewhere")
    assert done.returncode == 1
    assert done.stderr == (
        "nuska: 404 Not Found: what answers there does not know this call. Is --url a Nuska "
        "server?\n"
    )


@pytest.mark.parametrize("flag", ["--port", "--host", "--bind"])
def test_the_halves_of_an_address_to_listen_on_lead_to_the_whole(here, flag):
    done = here("serve", flag, "9000")
    assert (done.returncode, done.stderr) == (
        2,
        f"nuska: Unknown option: {flag}. Say --listen HOST:PORT.\n",
    )


def test_an_argument_is_json_if_it_can_be_and_text_if_asked(nuska, jobs):
    posted = nuska("message", "post", "jobs", '{"job": 17}', "hello", "17", "NaN")
    assert posted.returncode == 0
    assert len(posted.stdout.split()) == 4
    nuska("message", "post", "jobs", "--text", "17", "--", "-v")
    assert [message.body for message in jobs.messages()] == [
        {"job": 17}, "hello", 17, "NaN", "17", "-v"
    ]  # fmt: skip


def test_a_post_takes_terms_and_attributes(nuska, jobs):
    nuska("message", "post", "jobs", "x", "--ttl", "90", "--attribute", "a=1", "--attribute", "b=c")
    (message,) = jobs.messages(attributes=True)
    assert (message.ttl, message.attributes) == (90, {"a": 1, "b": "c"})


def test_standard_input_is_posted_line_by_line_in_batches(nuska, jobs):
    text = "".join(f"{json.dumps({'job': n})}\n" for n in range(250)) + "\n" + '"last, no end"'
    posted = nuska("message", "post", "jobs", stdin=text)
    assert posted.returncode == 0
    assert posted.stdout == ""
    assert posted.stderr.startswith("251 messages posted in ")
    bodies = [message.body for message in jobs.messages(page=20)]
    assert bodies == [{"job": n} for n in range(250)] + ["last, no end"]


def test_batches_keep_to_the_size_that_the_queue_takes(nuska, jobs):
    jobs.create({"_max_messages_post_size": 3000})
    posted = nuska("message", "post", "jobs", "--text", stdin=("x" * 500 + "\n") * 20)
    assert posted.stderr == "20 messages posted in 4 requests.\n"


def test_a_line_that_is_no_message_ends_the_posting_and_is_named(nuska, jobs):
    posted = nuska("message", "post", "jobs", stdin='1\n2\n{"no json\n4\n')
    assert posted.returncode == 1
    assert "Line 3 cannot be posted: it is not JSON (" in posted.stderr
    assert "at column 2); --text posts lines as they are." in posted.stderr
    nuska("queue", "create", "small", "_max_messages_post_size=100")
    posted = nuska("message", "post", "small", stdin='"%s"\n' % ("x" * 200))
    assert posted.returncode == 1
    assert "Line 1 cannot be posted: the message has 211 bytes" in posted.stderr


@pytest.mark.parametrize("redirect", ["<&-", "< /proc/self/mem"])
def test_an_input_that_cannot_be_read_is_said_in_one_sentence(nuska, jobs, redirect):
    command = f"{sys.executable} -m nuska message post jobs {redirect}"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False, env=nuska.environment
    )
    assert done.returncode == 1
    assert re.search("nuska: Not everything could be posted: (standard|the) input", done.stderr)


def test_attributes_are_a_column_of_the_table_when_they_are_asked_for(nuska, jobs):
    jobs.post({"job": 17}, attributes={"a": 1})
    for command in (["list"], ["pop"]):
        heading, row = nuska("message", *command, "jobs", "--attributes").stdout.splitlines()
        assert heading == "ID\tTTL\tAGE\tBODY\tATTRIBUTES"
        assert row.endswith('\t{"job": 17}\t{"a": 1}')


def test_a_queue_that_nobody_has_made_is_not_mistaken_for_an_empty_one(nuska, jobs):
    jobs.create()
    for command in ("show", "stats"):
        assert nuska("queue", command, "jobs").stderr == ""
        assert "There is no queue jbos yet" in nuska("queue", command, "jbos").stderr
        assert nuska("queue", command, "jbos", "--json").stderr == ""


def test_a_listing_can_be_posted_again(nuska, jobs):
    jobs.post({"job": 17}, ttl=90, attributes={"a": 1})
    listed = nuska("message", "list", "jobs", "--attributes", "--json").stdout
    assert nuska("message", "post", "copy", "--envelope", stdin=listed).returncode == 0
    (copy,) = lines(nuska("message", "list", "copy", "--attributes", "--json").stdout)
    assert (copy["body"], copy["ttl"], copy["attributes"]) == ({"job": 17}, 90, {"a": 1})
    read = json.loads(listed)
    read["attributes"]["_hops"] = 1  # as one that came here by a subscription
    again = nuska("message", "post", "again", "--envelope", stdin=json.dumps(read) + "\n")
    assert again.returncode == 0
    (copy,) = lines(nuska("message", "list", "again", "--attributes", "--json").stdout)
    assert copy["attributes"] == {"a": 1}
    missing = nuska("message", "post", "copy", "--envelope", stdin='{"no body": 1}\n')
    assert (missing.returncode, "Line 1" in missing.stderr) == (1, True)


def test_a_slow_producers_lines_are_posted_as_they_come(nuska, jobs):
    posting = nuska.start("message", "post", "jobs")
    posting.stdin.write('"first"\n')
    posting.stdin.flush()
    with jobs.claim(wait=30) as claim:
        assert [message.body for message in claim] == ["first"]
    posting.communicate()
    assert posting.returncode == 0


def test_messages_are_listed_got_popped_and_deleted(nuska, jobs):
    ids = jobs.post_many([NewMessage(body=number, ttl=60) for number in range(25)])
    listed = nuska("message", "list", "jobs").stdout.splitlines()
    assert listed[0] == "ID\tTTL\tAGE\tBODY"
    assert [line.split("\t")[3] for line in listed[1:]] == [str(number) for number in range(25)]
    after = nuska("message", "list", "jobs", "--marker", ids[1], "--limit", "2", "--json")
    assert [message["body"] for message in lines(after.stdout)] == [2, 3]
    got = nuska("message", "get", "jobs", ids[24], ids[0], "--json")
    assert [message["body"] for message in lines(got.stdout)] == [24, 0]
    popped = nuska("message", "pop", "jobs", "--limit", "2", "--json")
    assert [message["body"] for message in lines(popped.stdout)] == [0, 1]
    assert nuska("message", "delete", "jobs", *ids[2:24]).returncode == 0
    assert [message.body for message in jobs.messages()] == [24]


def test_a_null_body_is_shown_as_null(nuska, jobs):
    jobs.post(None)
    (message,) = lines(nuska("message", "list", "jobs", "--json").stdout)
    assert message["body"] is None


def test_a_listing_can_be_followed(nuska, jobs):
    following = nuska.start("message", "list", "jobs", "--follow", "--json")
    jobs.post("first")
    assert json.loads(following.stdout.readline())["body"] == "first"
    jobs.post("second")
    assert json.loads(following.stdout.readline())["body"] == "second"
    following.send_signal(2)
    following.communicate()
    assert following.returncode == 130


def test_the_life_of_a_claim(nuska, jobs):
    ids = jobs.post_many([NewMessage(body=number) for number in range(2)])
    created = json.loads(
        nuska("claim", "create", "jobs", "--limit", "2", "--ttl", "90", "--json").stdout
    )
    assert [message["body"] for message in created["messages"]] == [0, 1]
    refused = nuska("message", "delete", "jobs", ids[0])
    assert (refused.returncode, "claimed" in refused.stderr) == (1, True)
    assert nuska("message", "delete", "jobs", ids[0], "--claim", created["id"]).returncode == 0
    assert nuska("claim", "renew", "jobs", created["id"], "--ttl", "600").returncode == 0
    shown = json.loads(nuska("claim", "show", "jobs", created["id"], "--json").stdout)
    assert (shown["ttl"], [message["id"] for message in shown["messages"]]) == (600, [ids[1]])
    assert nuska("claim", "release", "jobs", created["id"]).returncode == 0
    assert jobs.stats().free == 1


def test_a_claim_of_nothing_is_no_mistake(nuska):
    nothing = nuska("claim", "create", "jobs")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "Nothing to claim.\n"
    document = json.loads(nuska("claim", "create", "jobs", "--json").stdout)
    assert document == {"id": None, "messages": []}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["message", "get", "jobs", "0"], 1, "Not found"),
        (["queue", "set", "nowhere", "a=1"], 1, "Not found"),
        (["message", "post", "jobs", "x", "--ttl", "1"], 1, "ttl"),
        (["queue", "create", "no spaces allowed"], 1, "Invalid queue identification"),
        (["queue", "creat"], 2, "Unknown command"),
        (["queue", "create"], 2, "NAME"),
        (["message", "list", "jobs", "mail"], 2, "Too many arguments: 'mail'."),
        (["queue", "create", "jobs", "=1"], 2, "KEY=VALUE"),
        (["queue", "set", "jobs"], 2, "KEY=VALUE"),
        (["queue", "delete"], 2, "name"),
        (["queue", "list", "--limit", "many"], 2, "--limit"),
        (["message", "post", "jobs", "x", "--batch", "0"], 2, "batch"),
        (["message", "get", "jobs"], 2, "id"),
        (["work", "jobs"], 2, "command"),
        (["work", "jobs", "--", "no-such-command"], 2, "no-such-command"),
        (["work", "jobs", "--jobs", "0", "--", "true"], 2, "--jobs"),
        (["queue", "list", "--url", "localhost"], 2, "address"),
        (["queue", "list", "--url", "unix:/nowhere/nuska.sock"], 3, "Cannot connect"),
        (["work", "jobs", "--url", "unix:/nowhere/nuska.sock", "--", "true"], 3, "Cannot connect"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line_and_by_the_exit_code(here, arguments, code, sentence):
    ended = here(*arguments)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("nuska: ")
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_pipe_that_is_closed_early_is_no_reason_to_complain(nuska, jobs):
    for _ in range(10):
        jobs.post_many([NewMessage(body="x" * 1000) for _ in range(100)])
    listing = nuska.start("message", "list", "jobs")
    listing.stdout.readline()
    listing.stdout.close()
    assert listing.stderr.read() == ""
    listing.stdin.close()
    listing.stderr.close()
    assert listing.wait() == 141


def test_people_at_a_terminal_get_a_table_in_which_nothing_can_move_the_cursor(nuska, jobs):
    jobs.post("\x1b[2J\x9b2J [bold]\u202egnp.exe")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "nuska", "message", "list", "jobs"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        # A dumb terminal has 80 columns unless it says both of its sizes.
        env=nuska.environment | {"TERM": "dumb", "COLUMNS": "200", "LINES": "25"},
    ) as listing:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(ours)
    assert listing.returncode == 0
    heading, row = shown.decode().splitlines()
    assert heading.split() == ["ID", "TTL", "AGE", "BODY"]
    assert row.endswith(r'"\u001b[2J\u009b2J [bold]\u202egnp.exe"')


def test_progress_is_shown_on_a_terminal_and_gone_afterwards(nuska, jobs, tmp_path):
    (tmp_path / "lines").write_text("1\n" * 500)
    ours, theirs = pty.openpty()
    with (
        (tmp_path / "lines").open() as source,
        subprocess.Popen(
            [sys.executable, "-m", "nuska", "message", "post", "jobs"],
            stdin=source,
            stdout=theirs,
            stderr=theirs,
            env=nuska.environment | {"TERM": "xterm", "COLUMNS": "100"},
        ) as posting,
    ):
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass
    os.close(ours)
    assert posting.returncode == 0
    text = shown.decode()
    assert "messages posted" in text
    assert text.rstrip().endswith("500 messages posted in 5 requests.")


def test_every_command_explains_itself(here):
    for arguments in (["queue"], ["message"], ["claim"], ["work"], ["message", "post"]):
        shown = here(*arguments, "--help")
        assert shown.returncode == 0
        assert shown.stdout.startswith("Usage: nuska ")
    listed = here("--help").stdout
    for name in ("serve", "queue", "message", "claim", "work"):
        assert f"│ {name} " in listed


def test_the_server_starts_without_the_client_and_the_client_without_the_server():
    script = (
        "import sys; from nuska.cli import build_app; app = build_app(); {}; "
        "print(sorted(name for name in sys.modules if name.startswith({!r})))"
    )
    for use, absent in [
        ("app['serve']", "nuska.client"),
        ("app['queue']", "nuska.transport"),
        ("app['work']", "nuska.core"),
    ]:
        done = subprocess.run(
            [sys.executable, "-c", script.format(use, absent)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "[]\n"
