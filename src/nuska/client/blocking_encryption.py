"""Data keys for programs without an event loop; see ``encryption`` for what each call does."""

from nuska.client.blocking_pools import Runner
from nuska.client.encryption import Encryption


class BlockingEncryption:
    """The data keys of the client's project; see ``Encryption``."""

    def __init__(self, portal: Runner, encryption: Encryption) -> None:
        self._portal = portal
        self._encryption = encryption

    def rotate(self) -> int:
        return self._portal.run(self._encryption.rotate())

    def erase(self) -> int:
        return self._portal.run(self._encryption.erase())

    def rewrap(self) -> int:
        return self._portal.run(self._encryption.rewrap())
