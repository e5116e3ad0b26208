"""Every engine by TLS: a node believes whom its address says, and nobody else."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nuska.domain.errors import Unavailable
from nuska.testing.certificates import certificate
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.conformance.wakeups import WakeupConformance
from nuska.testing.encrypted_engines import ENCRYPTED, OTHER_NAME, Encrypted, encrypted_engine
from nuska.testing.opening import Open, opening_stores

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("half_open_sockets")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    asked = str(metafunc.config.getoption("stores")).split(",")
    metafunc.parametrize(
        "engine",
        [
            pytest.param((kind, setup), id=f"{kind} {setup}")
            for kind, setups in ENCRYPTED.items()
            if kind in asked
            for setup in setups
        ],
        indirect=True,
        scope="module",
    )


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Encrypted]:
    # Not below pytest's own directory, which only its owner may enter.
    directory = Path(tempfile.mkdtemp(prefix="nuska-encrypted-"))
    with encrypted_engine(*request.param, directory) as server:
        yield server


@pytest.fixture(scope="module")
def url(engine: Encrypted) -> str:
    return engine.new_url()


@pytest.fixture
async def open_at() -> AsyncIterator[Open]:
    async with opening_stores() as opening:
        yield opening


async def test_a_store_is_reached_by_tls(engine: Encrypted, url: str, open_at: Open) -> None:
    store = await open_at(engine.encrypted(url, engine.ca))
    inbox = Inbox(store, ManualClock(), name="reached")
    await inbox.post("secret")
    assert await inbox.listed() == ["secret"]


async def test_who_is_not_believed_is_not_spoken_to(
    engine: Encrypted, url: str, open_at: Open, tmp_path: Path
) -> None:
    stranger, _ = certificate(tmp_path)
    for address in (
        engine.encrypted(url, stranger),
        engine.encrypted(url, None),
        engine.encrypted(url.replace("127.0.0.1", OTHER_NAME), engine.ca),
    ):
        with pytest.raises(Unavailable, match=r"(?i)certificate|believed") as refused:
            await open_at(address)
        assert "s3cret" not in str(refused.value)


async def test_nothing_is_said_in_the_clear(engine: Encrypted, url: str, open_at: Open) -> None:
    plain = f"{url}?ssl=disable" if url.startswith("postgresql") else url
    with pytest.raises(Unavailable):
        await open_at(plain)


async def test_a_file_that_is_not_there_is_said(
    engine: Encrypted, url: str, open_at: Open, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        await open_at(engine.encrypted(url, tmp_path / "none.pem"))


class TestWakeups(WakeupConformance):
    """What nodes tell each other goes the same way."""

    @pytest.fixture
    def url(self, engine: Encrypted, url: str) -> str:
        return engine.encrypted(url, engine.ca)
