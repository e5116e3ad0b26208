"""What every test of this repository gets: how many run at once, and the count of what ran on
which store."""

import asyncio
import gc
import os
import signal
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

RAN_ON = "ran_on_setup"
STORES = tomllib.loads((Path(__file__).parent / "stores.toml").read_text())
"""What there is to run on; the file says what its tables mean."""
STORE_OF = {path: name for name, store in STORES.items() for path in store.get("tests", [])}
"""By file or folder name."""
OF_ANY = {path for store in STORES.values() for path in store.get("shares", [])}
"""Files that need one store of several, whichever."""
MOST_BESIDES = 4
"""Workers beyond one a core; each may have servers of every store, of some 100 MB each."""


@pytest.fixture
async def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``later(30)``: half a minute passes for the test's event loop, at once. What is due by then
    happens at the loop's next turn; so deadlines can be far longer than any machine stands still.
    """
    loop = asyncio.get_running_loop()
    time, passed = loop.time, 0.0

    def let_pass(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(loop, "time", lambda: time() + passed)
    return let_pass


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stores",
        default="",
        help="comma-separated stores on whose every set-up tests must have run; the run fails "
        "when one did not. Tests of other stores are left out",
    )


@pytest.hookimpl(optionalhook=True)  # one may do without xdist
def pytest_xdist_auto_num_workers() -> int:
    """Of ``-n auto``: two a core, since a worker waits for servers, syncs and deadlines for more
    than half of its time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) + min(cores or 1, MOST_BESIDES)


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts background jobs with SIGINT ignored, and children inherit that: then the
    # processes that tests interrupt would never hear of it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # not in the worker processes of xdist
        # Whoever picks tests by a word of their names leaves others out on purpose.
        promised = [] if config.getoption("keyword") else asked_for(config)
        config.pluginmanager.register(StoreCount(promised), "store-count")


def asked_for(config: pytest.Config) -> list[str]:
    names = [name for name in str(config.getoption("stores")).split(",") if name]
    unknown = [name for name in names if name not in STORES]
    if unknown:
        raise pytest.UsageError(f"--stores: {', '.join(unknown)}? Known are {', '.join(STORES)}.")
    return names


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Tests of a store run when it is asked for."""
    name, asked = collection_path.name, asked_for(config)
    if name in OF_ANY:
        return None if any(name in STORES[store].get("shares", []) for store in asked) else True
    store = STORE_OF.get(name)
    return True if store is not None and store not in asked else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """What is collected stays until the end: there is no garbage to look for among it, neither
    meanwhile nor whenever a test has garbage collected that is its own."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    setup = setup_of(item)
    if setup:
        item.user_properties.append((RAN_ON, setup))
    return (yield)


def setup_of(item: pytest.Item) -> str:
    """What a test runs on: what its class says; else, for one with a fixture named ``store``,
    the store that its file is about, or that of the fixture."""
    named = str(getattr(getattr(item, "cls", None), "SETUP", ""))
    module = type(getattr(item, "funcargs", {}).get("store")).__module__
    if named or not module.startswith("nuska.stores."):
        return named
    about = (STORE_OF[part] for part in reversed(item.path.parts) if part in STORE_OF)
    return next(about, module.split(".")[2])


class StoreCount:
    """Counts passed tests per set-up, and fails a run that left out one it promised."""

    def __init__(self, stores: list[str]) -> None:
        self._promised = [setup for name in stores for setup in STORES[name]["setups"]]
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
