"""What every test of this repository gets: the count of what ran on which store."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

RAN_ON = "ran_on_store"
PREVIEWS = {
    "redis": "redis",
    "test_redis.py": "redis",
    "postgresql": "sql",
    "test_postgresql.py": "sql",
    "mongodb": "mongodb",
    "test_mongodb.py": "mongodb",
}
"""Tests of stores that ``make test`` leaves out, and the store by which they are asked for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stores",
        default="",
        help="comma-separated stores on which tests must have run; the run fails when one did not",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts background jobs with SIGINT ignored, and children inherit that: then the
    # processes that tests interrupt would never hear of it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # not in the worker processes of xdist
        config.pluginmanager.register(StoreCount(config.getoption("stores")), "store-count")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Previews have targets of their own, such as ``make test-redis``."""
    asked = str(config.getoption("stores")).split(",")
    store = PREVIEWS.get(collection_path.name)
    return True if store is not None and store not in asked else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note on which store a test ran: that of its fixture named ``store``, if it has one."""
    module = type(getattr(item, "funcargs", {}).get("store")).__module__
    if module.startswith("nuska.stores."):
        item.user_properties.append((RAN_ON, module.split(".")[2]))
    return (yield)


class StoreCount:
    """Counts passed tests per store, and fails a run that left out a store it promised."""

    def __init__(self, promised: str) -> None:
        self._promised = [name for name in promised.split(",") if name]
        self._passed: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.update(str(name) for key, name in report.user_properties if key == RAN_ON)

    def _missing(self) -> list[str]:
        return [name for name in self._promised if not self._passed[name]]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._missing() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._passed or self._promised:
            terminalreporter.section("stores")
        for name, passed in sorted(self._passed.items()):
            terminalreporter.write_line(f"{name}: {passed} tests passed")
        for name in self._missing():
            terminalreporter.write_line(f"{name}: DID NOT RUN, and had to", red=True)
