"""One Keystone for every test here: it takes half a minute to set up."""

from collections.abc import Iterator

import pytest

from nuska.testing.engine import running
from nuska.testing.keystone_people import Person, add_service, new_person
from nuska.testing.keystone_server import KeystoneServer


@pytest.fixture(scope="session")
def only_keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneServer]:
    with running(KeystoneServer(tmp_path_factory.mktemp("keystone"))) as keystone:
        add_service(keystone)
        yield keystone


@pytest.fixture
def keystone(only_keystone: KeystoneServer) -> Iterator[KeystoneServer]:
    """Running as it should, whatever the test before did to it."""
    only_keystone.start()
    yield only_keystone
    only_keystone.resume()
    if only_keystone.expiration != KeystoneServer.expiration:
        only_keystone.expiration = KeystoneServer.expiration
        only_keystone.stop()


@pytest.fixture
def ann(keystone: KeystoneServer) -> Person:
    return new_person(keystone, "member")
