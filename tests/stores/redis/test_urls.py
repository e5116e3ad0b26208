"""Addresses of Redis stores: what they mean, what is refused, and encrypted ones."""

from collections.abc import Awaitable, Callable

import pytest

from nuska.stores.redis.store import RedisStore
from nuska.stores.redis.url import Topology, parse
from nuska.testing.redis_server import RedisServer

Open = Callable[[str], Awaitable[RedisStore]]


def test_a_full_address_says_everything() -> None:
    location = parse("rediss://u%40:p%2F@host:1/2?prefix=x:&ca=/c&cert=/d&key=/e")
    assert (location.topology, location.encrypted) == (Topology.SERVER, True)
    assert (location.user, location.password) == ("u@", "p/")
    assert (location.hosts, location.database, location.prefix) == ([("host", 1)], 2, "x:")
    assert (location.ca, location.cert, location.key) == ("/c", "/d", "/e")
    assert "p/" not in repr(location)


def test_an_address_may_be_short() -> None:
    location = parse("redis://[::1]")
    assert (location.hosts, location.database) == ([("::1", 6379)], 0)
    assert (location.user, location.password, location.prefix) == (None, None, "nuska:")


def test_clusters_and_sentinels_have_several_hosts() -> None:
    cluster = parse("redis+cluster://:secret@a,b:1")
    assert (cluster.hosts, cluster.password) == ([("a", 6379), ("b", 1)], "secret")
    behind = parse("redis+sentinel://a,b:1/main/3?sentinel_password=x")
    assert behind.hosts == [("a", 26379), ("b", 1)]
    assert (behind.service, behind.database, behind.sentinel_password) == ("main", 3, "x")


@pytest.mark.parametrize(
    "url",
    [
        "redis:",
        "redis://",
        "redis://a,b",
        "redis://a/x",
        "redis://a/1/2",
        "redis://a:port",
        "redis://a?unknown=1",
        "redis://a?prefix",
        "redis+cluster://a/1",
        "redis+sentinel://a",
        "redis+other://a",
        "redis://a?ca=/file",
        "redis+cluster://a?cert=/file&key=/file",
        "rediss://a?key=/file",
        "http://a",
    ],
)
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(url)


@pytest.mark.parametrize("character", ["/", "?", "#"])
def test_no_error_quotes_a_password_that_should_have_been_encoded(character: str) -> None:
    for start in ("redis://u:", "redis+cluster://:", "rediss://u:1"):
        with pytest.raises(ValueError, match="%2F") as refused:
            parse(f"{start}sec{character}ret@host/x")
        assert "sec" not in str(refused.value)
        assert "ret" not in str(refused.value)


@pytest.mark.parametrize("prefix", ["{", "a}b"])
async def test_a_prefix_with_braces_is_refused(
    open_at: Open, server: RedisServer, prefix: str
) -> None:
    with pytest.raises(ValueError, match="braces"):
        await open_at(f"{server.url}?prefix={prefix}")
