"""Opening the sockets a server listens on, with one clear sentence when that fails."""

import errno
import os
import socket
import stat
from pathlib import Path

from nuska.addresses import Address, TcpAddress, UnixAddress

BACKLOG = 2048
"""Connections the kernel keeps for us while we are busy; it may cut this to its own limit."""
_ONLY_OWNER = 0o177
"""Umask under which the socket file is made: mode 600."""


class CannotListen(Exception):
    """The address cannot be had; the argument is a sentence for the operator."""


class Port:
    """An address and its open sockets."""

    def __init__(
        self, address: Address, sockets: list[socket.socket], *, owns_file: bool = True
    ) -> None:
        self.address = address
        self.sockets = sockets
        self._file: os.stat_result | None = None
        if owns_file and isinstance(address, UnixAddress):
            self._file = Path(address.path).stat()

    def shared(self) -> "Port":
        """The same sockets for a process that has them from another one."""
        return Port(self.address, self.sockets, owns_file=False)

    def close(self) -> None:
        """Close the sockets; remove our socket file, unless somebody else has taken its place."""
        for open_socket in self.sockets:
            open_socket.close()
        if self._file is not None and isinstance(self.address, UnixAddress):
            path = Path(self.address.path)
            try:
                if os.path.samestat(path.stat(), self._file):
                    path.unlink()
            except OSError:
                pass


def open_port(address: Address) -> Port:
    """Raises ``CannotListen``. Port 0 takes a free one, as the returned address says."""
    try:
        if isinstance(address, UnixAddress):
            return Port(address, [_open_unix(Path(address.path))])
        return _open_tcp(address)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "something else is listening there"
        elif error.errno == errno.EADDRNOTAVAIL:
            reason = "this machine has no such address"
        raise CannotListen(f"Cannot listen on {address}: {reason}") from error


def _open_tcp(address: TcpAddress) -> Port:
    flags = socket.AI_PASSIVE
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    port = address.port
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, place in dict.fromkeys(found):
            opened = socket.socket(family, kind, protocol)
            sockets.append(opened)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((place[0], port, *place[2:]))
            port = opened.getsockname()[1]
            opened.listen(BACKLOG)
            opened.setblocking(False)
    except OSError:
        for opened in sockets:
            opened.close()
        raise
    return Port(TcpAddress(address.host, port), sockets)


def _open_unix(path: Path) -> socket.socket:
    _remove_stale(path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(_ONLY_OWNER)
    try:
        opened.bind(str(path))
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    finally:
        os.umask(umask)
    return opened


def _remove_stale(path: Path) -> None:
    """Remove a socket file that a killed server left behind, and nothing else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "in use")
