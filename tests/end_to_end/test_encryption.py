"""The real server with an encrypted queue: nothing plain on disk, keys in the operator's hand."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from nuska.client import ADMIN, Unavailable
from nuska.client.blocking import BlockingClient
from nuska.domain.sealing import OperatorKeys
from nuska.testing.server_process import ServerProcess

SECRET = "the combination is 4711-0815"
FLAGS = ("--admin-mode",)


def nuska(*arguments: str, url: str = "") -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUSKA_")}
    done = subprocess.run(
        [sys.executable, "-m", "nuska", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=kept | {"NUSKA_URL": url, "NUSKA_PROJECT": "acme"},
    )
    return done.stdout


def _name_of(key: str) -> str:
    return OperatorKeys([key.strip()]).first


def get(url: str) -> dict[str, Any]:
    headers = {"Client-ID": str(uuid4()), "X-Project-Id": "acme", "X-Roles": "admin"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return json.load(answer)


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_a_body_is_nowhere_on_disk_and_gone_with_its_key(tmp_path: Path) -> None:
    data, keys = tmp_path / "data", tmp_path / "encryption.keys"
    first = nuska("encryption", "new-key")
    keys.write_text(first)
    environment = {"NUSKA_ENCRYPTION_KEYS_FILE": str(keys)}
    with ServerProcess(data, *FLAGS, environment=environment) as server:
        with BlockingClient(server.url, project="acme", headers=ADMIN) as client:
            queue = client.queue("vault")
            queue.create({"_enable_encrypt_messages": True})
            queue.post({"secret": SECRET})
            assert [m.body for m in queue.messages(echo=True)] == [{"secret": SECRET}]
        assert "vault" in nuska("encryption", "list", url=server.url)
    assert SECRET.encode() not in on_disk(data)
    assert b"vault" in on_disk(data), "the test looks where the data are"

    keys.write_text(nuska("encryption", "new-key") + first)
    with ServerProcess(data, *FLAGS, environment=environment) as server:
        assert '"keys": 1' in nuska("encryption", "rewrap", "--json", url=server.url)
    keys.write_text(keys.read_text().splitlines()[0])
    with (
        ServerProcess(data, *FLAGS, environment=environment) as server,
        BlockingClient(server.url, project="acme", headers=ADMIN) as client,
    ):
        queue = client.queue("vault")
        assert [m.body for m in queue.messages(echo=True)] == [{"secret": SECRET}]
        nuska("encryption", "rotate", url=server.url)
        assert client.encryption.erase() == 1
        assert list(queue.messages(echo=True)) == []
        queue.post("anew")
        claim = queue.create_claim(limit=10)
        assert claim is not None
        assert [m.body for m in claim.messages] == ["anew"]


def test_a_server_without_the_key_says_so_and_one_with_it_has_everything(tmp_path: Path) -> None:
    data, keys = tmp_path / "data", tmp_path / "encryption.keys"
    keys.write_text(nuska("encryption", "new-key"))
    environment = {"NUSKA_ENCRYPTION_KEYS_FILE": str(keys)}
    with (
        ServerProcess(data, environment=environment) as server,
        BlockingClient(server.url, project="acme") as client,
    ):
        client.queue("vault").create({"_enable_encrypt_messages": True})
        client.queue("vault").post(SECRET)
    name = _name_of(keys.read_text())
    with (
        ServerProcess(data, *FLAGS) as server,
        BlockingClient(server.url, project="acme", headers=ADMIN) as client,
    ):
        with pytest.raises(Unavailable, match="no encryption key") as refused:
            client.queue("vault").pop(1)
        assert refused.value.final
        assert refused.value.retry_after is None
        assert "try again" not in refused.value.description
        with pytest.raises(Unavailable, match="its operator has to configure it"):
            client.queue("vault").post("another")
        assert f"KEY MISSING: {name}" in server.output
        assert "an encryption key is missing" in server.output
        health = f"{server.url}/v2/health"
        assert get(health)["missing_encryption_keys"] == [name]
    with (
        ServerProcess(data, environment=environment) as server,
        BlockingClient(server.url, project="acme") as client,
    ):
        assert [m.body for m in client.queue("vault").pop(1)] == [SECRET]
        assert "KEY MISSING" not in server.output
