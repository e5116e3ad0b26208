"""The log: one line per event, whoever speaks, with the request it is about."""

import json
import subprocess
import sys

import pytest

from nuska.logs import without_signature

SPEAK = """
import logging, structlog
from nuska.logs import set_up_logging
early = structlog.get_logger("nuska.early")
set_up_logging({form!r}, {level!r})
logging.getLogger("nuska.one").warning("said\\nso", extra={{"request_id": "req-1"}})
early.warning("said too", request_id="req-2")
try:
    1 / 0
except ZeroDivisionError as error:
    early.error("failed", request_id="req-3", exc_info=error)
    logging.getLogger("nuska.one").error("failed", exc_info=error, extra={{"request_id": "req-4"}})
logging.getLogger("nuska.one").debug("unheard")
early.info("unheard")
"""


def said(form: str, level: str = "warning") -> str:
    """What a process writes to standard error; the root logger is not ours to change here."""
    script = SPEAK.format(form=form, level=level)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    return done.stderr


def test_for_machines_every_event_is_one_line_of_json() -> None:
    events = [json.loads(line) for line in said("json").splitlines()]
    assert [event["request_id"] for event in events] == ["req-1", "req-2", "req-3", "req-4"]
    assert events[0]["event"] == "said\nso"
    assert {event["level"] for event in events} == {"warning", "error"}
    assert {event["logger"] for event in events} == {"nuska.one", "nuska.early"}
    assert all("ZeroDivisionError" in event["exception"] for event in events[2:])
    assert all(event["timestamp"].endswith("Z") for event in events)


def test_what_is_no_terminal_gets_json() -> None:
    assert all(line.startswith("{") for line in said("auto").splitlines())


def test_for_people_it_is_readable_text() -> None:
    text = said("human")
    assert "said too" in text
    assert "request_id=req-2" in text
    assert "Traceback (most recent call last):" in text
    assert "{" not in text.splitlines()[0]


def test_the_level_decides_what_is_heard() -> None:
    assert "unheard" not in said("json")
    assert said("json", "debug").count("unheard") == 2


@pytest.mark.parametrize(
    ("query", "logged"),
    [
        ("limit=5&marker=x", "limit=5&marker=x"),
        ("", ""),
        ("expires=1", "expires=1"),
        (
            "limit=5&signature=abc&expires=2031&methods=GET&paths=%2Fv2&project_id=p&x",
            "limit=5&signature=***&expires=***&methods=***&paths=***&project_id=***&x",
        ),
        ("Signature=abc&Project=p&Methods=PUT", "signature=***&project=***&methods=***"),
        ("%73ignature=abc&sign%61ture=d", "signature=***&signature=***"),
        ("signature", "signature=***"),
    ],
)
def test_a_link_that_is_a_credential_is_not_logged(query: str, logged: str) -> None:
    assert without_signature(query) == logged
