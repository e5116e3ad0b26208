"""Addresses a server listens on, and the host names it answers to.

Parsing and judging only: sockets are opened in ``transport/server/ports.py``.
"""

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

UNIX_PREFIX = "unix:"
LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_REMEMBERED_HOSTS = 256
"""Spellings of Host that are judged once; more distinct ones are judged each time."""


class TcpAddress(Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{TcpAddress(host, self.port)}"


class UnixAddress(Struct, frozen=True):
    path: str

    def __str__(self) -> str:
        return UNIX_PREFIX + self.path

    @property
    def url(self) -> str:
        return str(self)


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``. Raises ``ValueError`` with a sentence."""
    if text.startswith(UNIX_PREFIX):
        path = text.removeprefix(UNIX_PREFIX)
        if not path or "\0" in path:
            raise ValueError(f"{text!r} names no socket file; write unix:/path/to/socket")
        return UnixAddress(path)
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed):
        raise ValueError(f"{text!r} is not HOST:PORT, [IPV6]:PORT or unix:PATH")
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(f"{text!r} ends in {port!r}, which is not a port (0 to 65535)")
    return TcpAddress(host[1:-1] if bracketed else host, int(port))


def is_loopback(host: str) -> bool:
    """Whether ``host``, an address or a well-known name, cannot be reached from outside.

    Any other name counts as reachable, whatever it resolves to today.
    """
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_literal(host: str) -> bool:
    """Whether ``host`` is an IP address and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def host_guard(names: Iterable[str], *, allow_literals: bool = False) -> Callable[[str], bool]:
    """A predicate for the value of ``Host``, or the host in ``Origin``, with or without a port.

    It holds for loopback names and addresses and for ``names``; with ``allow_literals`` for
    every IP address too. A page from elsewhere that makes a browser talk to this server
    shows its own name there, even when that name was made to resolve to this machine.
    """
    known = frozenset(name.lower().rstrip(".") for name in names if name)
    verdicts: dict[str, bool] = {}

    def judge(value: str) -> bool:
        host = value if is_literal(value) else _host_in(value)
        return is_loopback(host) or host in known or (allow_literals and is_literal(host))

    def allowed(value: str) -> bool:
        verdict = verdicts.get(value)
        if verdict is None:
            verdict = judge(value)
            if len(verdicts) < _REMEMBERED_HOSTS:
                verdicts[value] = verdict
        return verdict

    return allowed


def _host_in(value: str) -> str:
    """The host in ``HOST`` or ``HOST:PORT``; empty when ``value`` is neither."""
    try:
        parts = urlsplit(f"//{value}")
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return ""
    return host if parts.netloc == value and "@" not in value else ""
