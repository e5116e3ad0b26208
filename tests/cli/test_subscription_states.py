"""What ``nuska subscription`` says of one in trouble, or gone, and how he is told again."""

import json
from typing import Any

from nuska.client.blocking import BlockingQueue
from nuska.testing.engine import within
from nuska.testing.ports import free_port
from nuska.testing.receiver import refusing_port

SOON = 30.0
RARELY = {
    "retries_with_no_delay": 0,
    "minimum_delay_retries": 0,
    "maximum_delay_retries": 1,
    "minimum_delay": 600,
    "maximum_delay": 3600,
}


def comes_to(here: Any, id_: str, state: str) -> bool:
    def stands() -> bool:
        shown = here("subscription", "stats", "jobs", id_, "--json").stdout
        return bool(json.loads(shown)["state"] == state)

    return within(SOON, stands)


def test_one_in_trouble_says_why_nothing_new_is_sent(here: Any, jobs: BlockingQueue) -> None:
    with refusing_port() as port:
        subscriber = f"http://127.0.0.1:{port}/in"
        id_ = jobs.subscriptions.create(subscriber, options={"_retry_policy": RARELY})
        for number in range(6):
            jobs.post(number)
        assert comes_to(here, id_, "trouble")
        log = here("subscription", "log", "jobs", id_)
    counts, why = log.stderr.splitlines()
    tried = len(log.stdout.splitlines()) - 1  # the heading
    assert counts == f"0 of {tried} attempts succeeded: 0 %."
    assert why.startswith("Nothing new is sent since 20")
    assert "failures in a row: The subscriber refuses connections. It is tried again at" in why
    stats = here("subscription", "stats", "jobs", id_).stdout
    assert 'breaker\t"open"' in stats


def test_one_who_was_gone_is_enabled_and_told_what_he_missed(
    nuska: Any, here: Any, jobs: BlockingQueue
) -> None:
    address = f"127.0.0.1:{free_port()}"
    gone = nuska.start("webhook", "receive", "--listen", address, "--status", "410", "--count", "1")
    assert gone.stderr.readline() == f"Listening on http://{address}\n"
    id_ = jobs.subscriptions.create(f"http://{address}/in")
    jobs.post("missed")
    assert gone.communicate()[0].startswith('/in {"ttl": 3600, "body": "missed"')
    assert comes_to(here, id_, "disabled")
    log = here("subscription", "log", "jobs", id_)
    assert "It is disabled since 20" in log.stderr
    back = nuska.start("webhook", "receive", "--listen", address, "--count", "1")
    assert back.stderr.readline() == f"Listening on http://{address}\n"
    enabled = here("subscription", "enable", "jobs", id_)
    assert (enabled.returncode, enabled.stderr) == (0, f"Subscription {id_} enabled.\n")
    assert back.communicate()[0].startswith('/in {"ttl": 3600, "body": "missed"')
    assert comes_to(here, id_, "active")
