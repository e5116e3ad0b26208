"""``nuska dead`` and ``nuska subscription log|test|replay`` against a server that delivers."""

import json
from typing import Any

from nuska.client.blocking import BlockingQueue
from nuska.testing.receiver import refusing_port

AT_ONCE = {"retries_with_no_delay": 0, "minimum_delay_retries": 0, "maximum_delay_retries": 0}
BRIEF = {**AT_ONCE, "minimum_delay": 1, "maximum_delay": 11}


def test_the_life_of_a_dead_letter(here: Any, jobs: BlockingQueue) -> None:
    assert here("dead", "list", "jobs").stderr == "No dead letters.\n"
    jobs.create({"_dead_letter_queue": "graves", "_max_claim_count": 0})
    for number in range(3):
        jobs.post(number)
    with jobs.claim(limit=3) as claim:
        assert not claim
    lines = here("dead", "list", "jobs").stdout.splitlines()
    assert lines[0] == "ID\tKIND\tCOUNT\tSINCE\tSUBSCRIBER\tREASON"
    assert len(lines) == 4
    assert here("dead", "list", "jobs", "--reason", "nothing such").stdout == ""
    id_ = lines[1].split("\t")[0]
    assert json.loads(here("dead", "show", "jobs", id_, "--json").stdout)["body"] == 0
    assert here("dead", "show", "jobs", "nobody").returncode == 1
    planned = here("dead", "redrive", "jobs", "--dry-run")
    assert planned.stderr == "3 dead letters would be redriven.\n"
    assert here("dead", "redrive", "jobs", id_).stderr == "1 dead letter redriven.\n"
    gone = here("dead", "redrive", "jobs", id_)
    assert gone.returncode == 1
    assert gone.stderr.endswith("nuska: Queue jobs has no dead letter of this id.\n")
    rest = here("dead", "redrive", "jobs", "--rate", "100", "--json")
    assert json.loads(rest.stdout) == {"redriven": 2, "skipped": 0, "dry_run": False}
    assert sorted(message.body for message in jobs.messages(echo=True)) == [0, 1, 2]
    assert here("dead", "redrive", "jobs", "--rate", "0").returncode == 2


def test_a_subscription_is_tried_out_and_its_log_read(here: Any, jobs: BlockingQueue) -> None:
    with refusing_port() as port:
        tried_out(here, jobs, f"http://127.0.0.1:{port}/in")


def tried_out(here: Any, jobs: BlockingQueue, subscriber: str) -> None:
    id_ = jobs.subscriptions.create(subscriber, options={"_retry_policy": BRIEF})
    assert here("subscription", "log", "jobs", id_).stderr == "Nothing was tried in that time.\n"
    tried = here("subscription", "test", "jobs", id_)
    assert tried.returncode == 1
    assert tried.stderr.startswith("nuska: It failed: ")
    log = here("subscription", "log", "jobs", id_)
    lines = log.stdout.splitlines()
    assert lines[0] == "AT\tMESSAGE\tATTEMPT\tSTATUS\tOUTCOME\tTOOK\tNEXT"
    assert len(lines) == 2
    assert log.stderr == "0 of 1 attempt succeeded: 0 %.\n"
    assert here("subscription", "test", "jobs", id_).returncode == 1
    last = here("subscription", "log", "jobs", id_, "--limit", "1").stdout.splitlines()
    both = here("subscription", "log", "jobs", id_).stdout.splitlines()
    assert (len(both), last) == (3, [both[0], both[2]])
    assert here("subscription", "log", "jobs", id_, "--limit", "0").returncode == 2
    stats = json.loads(here("subscription", "stats", "jobs", id_, "--json").stdout)
    assert (stats["state"], stats["breaker"], stats["success_rate"]) == ("active", "closed", 0.0)
    told = here("subscription", "replay", "jobs", id_, "--since", "60")
    assert (told.returncode, told.stderr) == (
        0,
        f"Subscription {id_} is told again of the last 60 seconds.\n",
    )
