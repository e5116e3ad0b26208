"""The addresses that a node opens: for the API, for WebSockets and metrics that are apart.

Opened once, before there are any data or any workers to share them. Refuses an address that
others can reach while no authentication is configured, unless that was asked for by name (D14).
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from nuska.addresses import Address, TcpAddress, host_guard, is_loopback, parse_address
from nuska.settings import Settings
from nuska.transport.server.ports import CannotListen, Port, open_port


class Ports(Struct, frozen=True, kw_only=True):
    """What is open."""

    api: Port | None
    """None on a node without the API."""
    apart: Port | None
    """For metrics and the ping."""
    websocket: Port | None = None
    """For WebSockets that have a port of their own."""

    def close(self) -> None:
        """A second call does nothing."""
        for port in (self.api, self.apart, self.websocket):
            if port is not None:
                port.close()

    def shared(self) -> "Ports":
        """For a process that shares these with others: the socket file is not its to remove."""
        return Ports(
            api=None if self.api is None else self.api.shared(),
            apart=None if self.apart is None else self.apart.shared(),
            websocket=None if self.websocket is None else self.websocket.shared(),
        )


def open_ports(settings: Settings) -> Ports:
    """Raises ``CannotListen`` with a sentence."""
    proven = not settings.is_open or settings.insecure_open
    api = _open(settings.address, guarded=proven) if settings.role != "delivery" else None
    ports = Ports(api=api, apart=None)
    try:
        if settings.metrics not in ("path", "off"):
            apart = _open(parse_address(settings.metrics), guarded=settings.insecure_open)
            ports = replace(ports, apart=apart)
        if settings.websocket_listen and settings.role != "delivery":
            websocket = _open(parse_address(settings.websocket_listen), guarded=proven)
            ports = replace(ports, websocket=websocket)
    except CannotListen:
        ports.close()
        raise
    return ports


def is_private(address: Address) -> bool:
    """Whether nobody but this machine can reach it."""
    return not isinstance(address, TcpAddress) or is_loopback(address.host)


def guard(settings: Settings, address: Address) -> Callable[[str], bool]:
    """Which names of itself a node believes, there."""
    own = [address.host] if isinstance(address, TcpAddress) else []
    return host_guard([*own, *settings.names], allow_literals=settings.insecure_open)


def _open(address: Address, *, guarded: bool) -> Port:
    """``guarded``: others may reach it, because they must prove who they are or because that was
    asked for."""
    if not is_private(address) and not guarded:
        raise CannotListen(
            f"Refusing to listen on {address}: no authentication is configured there, and others "
            "could reach that address. Listen on 127.0.0.1, [::1], localhost or unix:PATH, have "
            "callers prove who they are (--auth keys, keystone or jwt; metrics apart know no "
            "such thing), or say --insecure-open if every client that can reach it may do "
            "everything"
        )
    return open_port(address)
