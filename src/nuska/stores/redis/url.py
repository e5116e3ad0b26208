"""Where a Redis store is, from its URL.

    redis://[user:password@]host[:port][/database][?prefix=nuska:]
    redis+cluster://[user:password@]host[:port][,host[:port]…][?prefix=]
    redis+sentinel://[user:password@]host[:port][,…]/service[/database][?prefix=]

``rediss`` instead of ``redis`` encrypts; then ``ca``, ``cert`` and ``key`` name PEM files.
User, password and every value may be percent-encoded. ``sentinel_password`` is for
sentinels that ask for one, ``replicas`` says how many every primary has.
"""

from enum import Enum, auto
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
DEFAULT_PREFIX = "nuska:"
MAX_REPLICAS = 100
ENCRYPTION = frozenset({"ca", "cert", "key"})
OPTIONS = ENCRYPTION | {"prefix", "sentinel_password", "replicas"}


class Topology(Enum):
    SERVER = auto()
    CLUSTER = auto()
    SENTINEL = auto()


_TOPOLOGIES = {
    "": Topology.SERVER,
    "cluster": Topology.CLUSTER,
    "sentinel": Topology.SENTINEL,
}


class Location(Struct, frozen=True, kw_only=True):
    """What the URL says."""

    topology: Topology
    hosts: list[tuple[str, int]]
    encrypted: bool = False
    user: str | None = None
    password: str | None = None
    database: int = 0
    service: str = ""
    prefix: str = DEFAULT_PREFIX
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    sentinel_password: str | None = None
    replicas: int | None = None
    """How many each primary ought to have; for a majority."""

    def __repr__(self) -> str:
        """Without secrets: this ends up in logs."""
        return f"Location({self.topology.name}, {self.hosts}, database={self.database})"


def parse(url: str) -> Location:
    """Read a URL; ``ValueError`` says what is wrong with it."""
    split = urlsplit(url)
    base, _, kind = split.scheme.partition("+")
    if base not in ("redis", "rediss") or kind not in _TOPOLOGIES:
        raise ValueError(f"{split.scheme!r} is no Redis URL")
    if "@" not in split.netloc and "@" in url:
        # What follows is part of a password, and no error may quote it.
        raise ValueError("in a user or a password, write / ? # @ : as %2F %3F %23 %40 %3A")
    topology = _TOPOLOGIES[kind]
    credentials, _, places = split.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    port = DEFAULT_SENTINEL_PORT if topology is Topology.SENTINEL else DEFAULT_PORT
    hosts = [_host(place, port) for place in places.split(",")]
    if topology is Topology.SERVER and len(hosts) > 1:
        raise ValueError("several hosts are for redis+cluster: or redis+sentinel:")
    service, database = _path(topology, split.path)
    options = dict(parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query)))
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise ValueError(f"a Redis URL has no option {unknown[0]!r}")
    if base != "rediss" and ENCRYPTION & options.keys():
        raise ValueError("ca, cert and key are for rediss: URLs")
    if "key" in options and "cert" not in options:
        raise ValueError("key needs cert")
    return Location(
        topology=topology,
        hosts=hosts,
        encrypted=base == "rediss",
        user=unquote(user) or None,
        password=unquote(password) or None,
        database=database,
        service=service,
        prefix=options.get("prefix", DEFAULT_PREFIX),
        ca=options.get("ca"),
        cert=options.get("cert"),
        key=options.get("key"),
        sentinel_password=options.get("sentinel_password"),
        replicas=_replicas(options.get("replicas")),
    )


def _host(place: str, default_port: int) -> tuple[str, int]:
    split = urlsplit(f"//{place}")
    if not split.hostname:
        raise ValueError("a Redis URL names a host")
    return split.hostname, default_port if split.port is None else split.port


def _replicas(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_REPLICAS):
        raise ValueError(f"replicas is a number from 1 to {MAX_REPLICAS}")
    return int(text)


def _path(topology: Topology, path: str) -> tuple[str, int]:
    """Service and database."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    service = ""
    if topology is Topology.SENTINEL:
        service, *parts = parts
        if not service:
            raise ValueError(
                "redis+sentinel: names a service, as in redis+sentinel://host/mymaster"
            )
    database = parts[0] if parts else ""
    if len(parts) > 1 or not (database == "" or (database.isascii() and database.isdigit())):
        raise ValueError(f"{path!r} names no database")
    if topology is Topology.CLUSTER and database not in ("", "0"):
        raise ValueError("a Redis Cluster has database 0 only")
    return service, int(database or 0)
