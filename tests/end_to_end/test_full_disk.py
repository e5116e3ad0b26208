"""A disk that fills up under the real server: 503 with Retry-After and no message lost; and
when there is room again the same process goes on (I24).

The small disk is a tmpfs that only the server sees, in a mount namespace of its own, so it is
gone when the server is. Where such namespaces are not allowed, a limit on the size of its
files stands in: for the server that is a disk that refuses to grow as well.
"""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nuska.testing.plain_http import PlainClient
from nuska.testing.raw_http import Answer
from nuska.testing.server_process import ServerProcess

MESSAGES = "/v2/queues/jobs/messages"
DISK = 6 * 1024 * 1024
LEFT_FREE = 1024 * 1024
"""Bytes; the rest of the disk is taken by a file that has nothing to do with us."""
SIZE_LIMIT = 1024 * 1024
BODY = "x" * 4000
ENOUGH = 2000
"""Posts after which the disk must have been full."""

MAY_UNSHARE = (
    shutil.which("unshare") is not None
    and subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    ).returncode
    == 0
)


class SmallDisk(NamedTuple):
    """A server, and how its disk fills up and empties."""

    server: ServerProcess
    fill: Callable[[], None]
    make_room: Callable[[], None]


def on_tmpfs(data: Path) -> SmallDisk:
    mount = f'mount -t tmpfs -o size={DISK} tmpfs "{data}" && exec "$@"'
    server = ServerProcess(
        data,
        command=("unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, "-m", "nuska"),
    )

    def filler() -> Path:
        return Path(f"/proc/{server.pid}/root{data}/filler")

    return SmallDisk(
        server,
        fill=lambda: filler().write_bytes(bytes(DISK - LEFT_FREE)) and None,
        make_room=lambda: filler().unlink(),
    )


def with_limited_files(data: Path) -> SmallDisk:
    server = ServerProcess(data)
    everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    def limit(soft: int) -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (soft, everything[1]))

    return SmallDisk(server, fill=lambda: limit(SIZE_LIMIT), make_room=lambda: limit(everything[0]))


KINDS = {"tmpfs": on_tmpfs} if MAY_UNSHARE else {}
KINDS["file size"] = with_limited_files


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    data = tmp_path / "data"
    data.mkdir()
    disk = request.param(data)
    with disk.server:
        yield disk


@pytest.fixture
async def client(small_disk: SmallDisk) -> AsyncIterator[PlainClient]:
    async with PlainClient(
        small_disk.server.port, project="acme", client_id="7c1ff2ed-6b7c-4b0e-a9cd-8f1b8e2dbb11"
    ) as connected:
        yield connected


async def post(client: PlainClient, number: int) -> Answer:
    return await client.ask("POST", MESSAGES, {"messages": [{"body": f"{number} {BODY}"}]})


async def test_a_full_disk_is_a_503_and_no_loss_until_there_is_room_again(
    small_disk: SmallDisk, client: PlainClient
) -> None:
    pid = small_disk.server.pid
    acknowledged = []
    small_disk.fill()
    for number in range(ENOUGH):
        refused = await post(client, number)
        if refused.status != 201:
            break
        acknowledged.append(number)
    assert len(acknowledged) > 20
    for number in range(ENOUGH, ENOUGH + 5):
        assert refused.status == 503, refused
        assert int(refused.headers["retry-after"]) >= 1
        assert "disk" in json.loads(refused.body)["description"]
        refused = await post(client, number)
        if refused.status == 201:  # what was copied out of the log has made room in it
            acknowledged.append(number)
            break

    listing = await client.ask("GET", f"{MESSAGES}?echo=true&limit=5")
    assert listing.status == 200
    stats = await client.ask("GET", "/v2/queues/jobs/stats")
    assert json.loads(stats.body)["messages"]["free"] == len(acknowledged)

    small_disk.make_room()
    for number in range(ENOUGH + 10, ENOUGH + 15):
        assert (await post(client, number)).status == 201
        acknowledged.append(number)
    assert small_disk.server.pid == pid
    assert small_disk.server.running

    held = []
    while True:
        popped = await client.ask("DELETE", f"{MESSAGES}?pop=20")
        assert popped.status == 200
        messages = json.loads(popped.body)["messages"]
        if not messages:
            break
        held += [int(message["body"].partition(" ")[0]) for message in messages]
    assert held == acknowledged
