"""``nuska quota`` against a server for operators, and against one that is not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from nuska.client import ADMIN
from nuska.client.blocking import BlockingClient
from nuska.testing.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    environment = {"NUSKA_QUOTA_MESSAGES": "1000", "NUSKA_QUOTA_REQUESTS_PER_SECOND": "500"}
    data = tmp_path_factory.mktemp("data")
    with ServerProcess(data, "--admin-mode", store="memory:", environment=environment) as running:
        yield running


def limits_of(here: Any, *project: str) -> dict[str, list[str]]:
    shown = here("quota", "show", *project)
    assert shown.returncode == 0, shown.stderr
    head, *lines = shown.stdout.splitlines()
    assert head == "LIMIT\tMAY\tHAS\tSET FOR"
    return {cells[0]: cells[1:] for cells in (line.split("\t") for line in lines)}


def test_everybody_sees_what_he_may_have_and_has(nuska, here):
    limits = limits_of(here)
    assert limits["messages"][0] == "1000"
    assert limits["claims"][0] == "none"
    assert limits["listeners"] == ["10000", "0", "every project"]
    assert limits["requests_per_second"] == ["500", "1", "every project"]
    shown = json.loads(here("quota", "show", "--json").stdout)
    assert (shown["project"], shown["limits"]["messages"]) == (nuska.project, 1000)


def test_limits_are_set_one_by_one_and_reset_together(nuska, here):
    project = nuska.project
    assert here("quota", "set", project, "messages=5", "claims=none").returncode == 0
    assert here("quota", "set", project, "queues=7").returncode == 0
    limits = limits_of(here, project)
    assert limits["messages"][::2] == ["5", project]
    assert limits["claims"][::2] == ["none", project]
    assert limits["queues"][::2] == ["7", project]
    assert here("quota", "set", project, "messages=default").returncode == 0
    assert limits_of(here, project)["messages"][::2] == ["1000", "every project"]
    assert limits_of(here, project)["queues"][0] == "7"
    reset = here("quota", "reset", project)
    assert (reset.returncode, reset.stderr) == (
        0, f"{project}: the limits of every project hold.\n"
    )  # fmt: skip
    assert limits_of(here, project)["queues"][::2] == ["none", "every project"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("set", "shop"), "Say what is to change"),
        (("set", "shop", "messages"), "'messages' is not LIMIT=NUMBER"),
        (("set", "shop", "messages=many"), "the limit is a number, none or default"),
        (("set", "shop", "mesages=5"), "There is no quota 'mesages'"),
        (("set", "shop", "requests_per_second=0"), "must be from 1"),
        (("reset",), "Give the id of a project"),
    ],
)
def test_what_cannot_be_is_said(here, arguments, words):
    failed = here("quota", *arguments)
    assert failed.returncode != 0
    assert words in failed.stderr


def test_programs_without_an_event_loop_have_the_same(nuska):
    with BlockingClient(nuska.url, project=nuska.project, headers=ADMIN) as client:
        quotas = client.quotas()
        assert quotas.set("other", {"messages": 3, "claims": None}).limits["messages"] == 3
        assert quotas.show("other").overrides == {"messages": 3, "claims": None}
        quotas.reset("other")
        assert quotas.show("other").overrides == {}
        assert quotas.show().project == nuska.project


def test_a_server_that_is_not_for_operators_is_said_to_be_none(here, tmp_path):
    with ServerProcess(tmp_path, store="memory:") as plain:
        for arguments in (("set", "shop", "messages=5"), ("reset", "shop")):
            refused = here("quota", *arguments, "--url", plain.url, "--project", "shop")
            assert (refused.returncode, "started with --admin-mode" in refused.stderr) == (1, True)
