"""python-zaqarclient, unmodified, makes every pool and flavor call it has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from zaqarclient.queues import client as zaqar
from zaqarclient.queues.v2.client import Client
from zaqarclient.transport import errors

from nuska.testing.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("data")
    with ServerProcess(data, "--pooling", "--admin-mode") as running:
        yield running


def connect(server: ServerProcess, project: str) -> Client:
    auth = {"backend": "noauth", "options": {"os_project_id": project}}
    return zaqar.Client(server.url, version=2, conf={"auth_opts": auth})


@pytest.fixture
def admin(server: ServerProcess, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Has the role that a proxy in front of a server without authentication would give."""
    client = connect(server, project)
    ask = client._request_and_transport

    def with_role() -> Any:
        request, transport = ask()
        request.headers["X-Roles"] = "admin"
        return request, transport

    monkeypatch.setattr(client, "_request_and_transport", with_role)
    yield client
    for queue in list(client.queues()[0].stream()):
        queue.delete()
    for flavor in list(client.flavors().stream()):
        flavor.delete()
    for pool in list(client.pools().stream()):
        pool.delete()


def uri(directory: Path, name: str) -> str:
    return f"sqlite://{directory / name}.db"


def test_the_life_of_a_pool(admin: Client, tmp_path: Path) -> None:
    pool = admin.pool("one", uri=uri(tmp_path, "one"), weight=10, options={"rack": 3})
    shown = {
        "name": "one", "uri": uri(tmp_path, "one"), "weight": 10, "flavor": None,
        "href": "/v2/pools/one",
    }  # fmt: skip
    assert pool.get() == shown
    pool.update({"weight": 20})
    assert (pool.weight, pool.get()["weight"]) == (20, 20)
    (listed,) = admin.pools()
    assert (listed.name, listed.uri, listed.weight) == ("one", uri(tmp_path, "one"), 20)
    (detailed,) = admin.pools(detailed=True)
    assert detailed.options == {"rack": 3}
    detailed.ensure_exists()
    pool.delete()
    pool.delete()
    with pytest.raises(errors.ResourceNotFound, match="Not found"):
        pool.get()
    assert list(admin.pools()) == []


def test_pools_are_listed_beyond_a_page(admin: Client, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        admin.pool(name, uri=uri(tmp_path, name), weight=1)
    assert [pool.name for pool in admin.pools(limit=2).stream()] == ["a", "b", "c"]
    assert [pool.name for pool in admin.pools(marker="a")] == ["b", "c"]


def test_the_life_of_a_flavor(admin: Client, tmp_path: Path) -> None:
    for name in ("a", "b"):
        admin.pool(name, uri=uri(tmp_path, name), weight=1)
    flavor = admin.flavor("fast", pool_list=["a"])
    assert flavor.get()["pool_list"] == ["a"]
    assert "FIFO" in flavor.get()["capabilities"]
    flavor.update({"pool_list": ["b"]})
    assert flavor.get()["pool_list"] == ["b"]
    (listed,) = admin.flavors(detailed=True)
    assert (listed.name, listed.pool_list) == ("fast", ["b"])
    assert "FIFO" in listed.capabilities
    queue = admin.queue("letters", force_create=True)
    queue.metadata(new_meta={"_flavor": "fast"})
    queue.post([{"body": "hello", "ttl": 300}])
    assert [message.body for message in queue.messages(echo=True)] == ["hello"]
    flavor.delete()
    with pytest.raises(errors.ResourceNotFound):
        flavor.get()


def test_refusals_come_as_the_clients_own_errors(
    admin: Client, server: ServerProcess, project: str, tmp_path: Path
) -> None:
    with pytest.raises(errors.MalformedRequest, match="Unable to create pool"):
        admin.pool("bad", uri="nothing://there", weight=1)
    pool = admin.pool("one", uri=uri(tmp_path, "one"), weight=1)
    with pytest.raises(errors.ConflictError):
        admin.pool("two", uri=uri(tmp_path, "one"), weight=1)
    with pytest.raises(errors.MalformedRequest, match="updatefail"):
        pool.update({"weight": -1})
    with pytest.raises(errors.MalformedRequest, match="Unable to create"):
        admin.flavor("fast", pool_list=["nobody"])
    admin.flavor("fast", pool_list=["one"])
    with pytest.raises(errors.ForbiddenError, match="Unable to delete"):
        pool.delete()
    user = connect(server, project)
    with pytest.raises(errors.ForbiddenError, match="Not authorized"):
        list(user.pools())
    assert [flavor.name for flavor in user.flavors()] == ["fast"]


def test_health_has_every_pool(admin: Client, tmp_path: Path) -> None:
    admin.pool("one", uri=uri(tmp_path, "one"), weight=1)
    health = admin.health()
    assert health["catalog_reachable"] is True
    assert health["one"]["storage_reachable"] is True
