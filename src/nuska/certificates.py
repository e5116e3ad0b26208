"""The certificate that listeners show: read once, and again when its files have changed.

Who renews it replaces the files; connections that are made from then on see the new one. A pair
that cannot be read leaves the one before in use, and says so.
"""

import asyncio
import logging
import ssl
from pathlib import Path

LOOKED_AT_EVERY = 30.0
"""Seconds."""
_Seen = tuple[tuple[int, int], ...]

log = logging.getLogger("nuska.certificates")


class CannotEncrypt(Exception):
    """The certificate cannot be used; the argument is a sentence."""


class Certificate:
    """A server's side of TLS 1.2 and 1.3, for HTTP/1.1."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises ``CannotEncrypt``."""
        self._files = (certificate, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        try:
            self._seen = self._look()
            self.context.load_cert_chain(*self._files, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise CannotEncrypt(self._sentence(error)) from None

    async def run(self) -> None:
        """Look for a new one now and then, for ever."""
        while True:
            await asyncio.sleep(LOOKED_AT_EVERY)
            self.look_again()

    def look_again(self) -> bool:
        """Whether there was a new one, which is in use now."""
        try:
            seen = self._look()
            if seen == self._seen:
                return False
            self._seen = seen
            # Into a context of its own first: half of a new pair must not replace a whole old one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                *self._files, password=_no_password
            )
            self.context.load_cert_chain(*self._files, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            log.error("a new certificate cannot be used: %s", self._sentence(error))
            return False
        log.info("a new certificate is in use")
        return True

    def _look(self) -> _Seen:
        stats = [file.stat() for file in self._files]
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)

    def _sentence(self, error: Exception) -> str:
        certificate, key = self._files
        if isinstance(error, FileNotFoundError | PermissionError):
            return f"{error.filename or certificate} cannot be read: {error.strerror}"
        return f"{certificate} and {key} are no certificate and its key, without a password"


def _no_password() -> bytes:
    """Nobody is asked on the terminal."""
    raise ValueError("the key has a password")
