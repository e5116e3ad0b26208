"""``nuska work``: a command for each message, whatever becomes of the command.

A named pipe tells when a command runs, and holds it until the test lets it go on.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nuska.cli.options import Options
from nuska.cli.work import Commands
from nuska.client import ClaimedMessage, Client, Message, NewMessage

TOUCH_AND_HOLD = "echo $$ > begun; cat held > /dev/null; echo done > finished"
"""Says its process id in one pipe, and goes on when the other one is closed."""


class Held:
    """A command that runs until it is let go."""

    def __init__(self, directory: Path) -> None:
        self.begun = directory / "begun"
        self.held = directory / "held"
        self.finished = directory / "finished"
        os.mkfifo(self.begun)
        os.mkfifo(self.held)

    def wait_until_it_runs(self) -> int:
        """Its process id, once it runs."""
        return int(self.begun.read_text())

    def let_go(self) -> None:
        self.held.write_text("")


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return Held(tmp_path)


def test_each_message_is_worked_on_and_deleted(nuska, jobs):
    jobs.post_many([NewMessage(body={"job": number}) for number in range(5)])
    worked = nuska("work", "jobs", "--until-empty", "--", "sh", "-c", "cat; echo")
    assert worked.returncode == 0
    assert [json.loads(line) for line in worked.stdout.splitlines()] == [
        {"job": number} for number in range(5)
    ]
    assert worked.stderr == "5 done, 0 failed.\n"
    assert jobs.stats().total == 0


def test_a_text_is_given_as_it_is_and_in_quotes_if_asked(nuska, jobs):
    jobs.post("two\nlines")
    assert nuska("work", "jobs", "--once", "--", "cat").stdout == "two\nlines"
    jobs.post("two\nlines")
    quoted = nuska("work", "jobs", "--once", "--json-body", "--", "cat")
    assert quoted.stdout == r'"two\nlines"'


def test_the_environment_tells_what_is_worked_on(nuska, jobs):
    message_id = jobs.post(1, ttl=900, attributes={"a": 1})
    shown = nuska("work", "jobs", "--once", "--", "env").stdout.splitlines()
    told = dict(line.split("=", 1) for line in shown if line.startswith("NUSKA_"))
    assert len(told.pop("NUSKA_CLAIM_ID")) == 24
    assert int(told.pop("NUSKA_MESSAGE_AGE")) < 60
    assert told == {
        "NUSKA_URL": nuska.url,
        "NUSKA_PROJECT": nuska.project,
        "NUSKA_QUEUE": "jobs",
        "NUSKA_MESSAGE_ID": message_id,
        "NUSKA_MESSAGE_TTL": "900",
        "NUSKA_MESSAGE_ATTRIBUTES": '{"a":1}',
    }


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 3", "the command ended with status 3"),
        ("kill -SEGV $$", "the command was ended by SIGSEGV"),
    ],
)
def test_the_message_of_a_command_that_fails_is_free_again(nuska, jobs, script, sentence):
    message_id = jobs.post(1)
    worked = nuska("work", "jobs", "--once", "--json", "--", "sh", "-c", script)
    assert worked.returncode == 1
    assert worked.stderr == f"nuska: Message {message_id}: {sentence}; it is given back.\n"
    assert json.loads(worked.stdout) == {"done": 0, "failed": 1}
    assert jobs.stats().free == 1


def test_a_command_that_does_not_read_its_input_is_no_failure(nuska, jobs):
    jobs.post("x" * 200_000)
    assert nuska("work", "jobs", "--once", "--", "true").returncode == 0
    assert jobs.stats().total == 0


def test_one_failure_holds_up_no_other_message(nuska, jobs):
    jobs.post_many([NewMessage(body=number) for number in range(4)])
    worked = nuska("work", "jobs", "--until-empty", "--", "sh", "-c", 'test "$(cat)" != 0')
    assert worked.returncode == 1
    assert worked.stderr.endswith("3 done, 1 failed.\n")
    assert [message.body for message in jobs.messages()] == [0]


def test_commands_run_at_the_same_time(nuska, jobs, held, tmp_path):
    jobs.post_many([NewMessage(body=number) for number in range(2)])
    # Each writes into the pipe that the other reads: neither ends alone.
    script = 'if test "$(cat)" = 0; then echo > begun; else cat begun > /dev/null; fi'
    worked = nuska("work", "jobs", "--until-empty", "--jobs", "2", "--", "sh", "-c", script)
    assert (worked.returncode, worked.stderr) == (0, "2 done, 0 failed.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_the_command_finish_and_takes_no_more(nuska, jobs, held, number):
    jobs.post_many([NewMessage(body=n) for n in range(2)])
    working = nuska.start("work", "jobs", "--", "sh", "-c", TOUCH_AND_HOLD)
    held.wait_until_it_runs()
    working.send_signal(number)
    assert "a second signal kills them" in working.stderr.readline()
    held.let_go()
    _, rest = working.communicate(timeout=60)
    assert (working.returncode, rest) == (0, "1 done, 0 failed.\n")
    assert held.finished.exists()
    stats = jobs.stats()
    assert (stats.free, stats.claimed) == (1, 0)


def test_the_second_signal_kills_the_command_and_gives_back_its_message(nuska, jobs, held):
    jobs.post(1)
    working = nuska.start("work", "jobs", "--", "sh", "-c", TOUCH_AND_HOLD)
    process = held.wait_until_it_runs()
    working.send_signal(signal.SIGTERM)
    working.stderr.readline()
    working.send_signal(signal.SIGTERM)
    _, rest = working.communicate(timeout=60)
    assert working.returncode == 1
    assert "ended by SIGKILL; it is given back" in rest
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert not held.finished.exists()
    assert jobs.stats().free == 1


def test_an_interrupt_at_the_terminal_does_not_reach_the_command(nuska, jobs, held):
    jobs.post(1)
    working = subprocess.Popen(
        [sys.executable, "-m", "nuska", "work", "jobs", "--", "sh", "-c", TOUCH_AND_HOLD],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=nuska.directory,
        env=nuska.environment,
        process_group=0,
    )
    held.wait_until_it_runs()
    os.killpg(working.pid, signal.SIGINT)  # as the terminal does, to all that it started
    working.stderr.readline()
    held.let_go()
    working.communicate(timeout=60)
    assert working.returncode == 0
    assert held.finished.exists()


def test_an_idle_worker_stops_at_the_first_signal(nuska, jobs):
    working = nuska.start("work", "jobs", "--", "sh", "-c", "echo worked")
    jobs.post(1)
    assert working.stdout.readline() == "worked\n"  # it has its signal handlers by now
    working.terminate()
    _, told = working.communicate(timeout=60)
    assert working.returncode == 0
    assert told.endswith("1 done, 0 failed.\n")


def test_a_worker_waits_for_the_next_message(nuska, jobs):
    working = nuska.start("work", "jobs", "--once", "--", "cat")
    jobs.post("at last")
    shown, _ = working.communicate(timeout=60)
    assert (working.returncode, shown) == (0, "at last")


@pytest.mark.slow
def test_a_claim_is_renewed_while_its_command_runs(nuska, jobs, held):
    """With the shortest claim that the API knows the first renewal comes after 20 seconds."""
    jobs.post(1)
    script = 'echo "$NUSKA_CLAIM_ID" > claim; ' + TOUCH_AND_HOLD
    working = nuska.start("work", "jobs", "--once", "--ttl", "60", "--", "sh", "-c", script)
    held.wait_until_it_runs()
    claim_id = (nuska.directory / "claim").read_text().strip()
    oldest = 0
    while (age := jobs.show_claim(claim_id).age) >= oldest:
        oldest = age
        time.sleep(0.2)
    assert 19 <= oldest < 60
    held.let_go()
    working.communicate(timeout=60)
    assert working.returncode == 0


async def test_a_command_whose_claim_is_lost_is_stopped(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    held = Held(tmp_path)
    async with Client(project="shop") as client:
        queue = client.queue("jobs")
        message = ClaimedMessage(Message(id="m1", body=1, ttl=60, age=0), queue.claim())
        commands = Commands(("sh", "-c", TOUCH_AND_HOLD), queue, Options(), json_body=False)
        running = asyncio.create_task(commands.run(message))
        process = await asyncio.to_thread(held.wait_until_it_runs)
        # The command can be quicker than the news of its start.
        while not commands.running:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert not held.finished.exists()
    assert "the claim is lost; the command is stopped" in capfd.readouterr().err
