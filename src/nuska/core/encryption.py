"""What an operator may do with the data keys of encrypted queues: see, change and erase them."""

from nuska.core.access import allow
from nuska.core.ranges import page_size
from nuska.core.vault import KeyVault, StoredKey
from nuska.domain.errors import InvalidInput
from nuska.interfaces.identity import Caller

KEYS_PER_PAGE = 100


class EncryptionService:
    """All but ``rewrap`` concern the caller's project. ``InvalidInput`` without a vault."""

    def __init__(self, vault: KeyVault | None) -> None:
        self._kept = vault

    async def page(
        self, caller: Caller, *, after: str | None, limit: int | None
    ) -> list[tuple[str, StoredKey]]:
        """Keys by id, after the id ``after``; none of them is shown, only about them."""
        allow(caller, "encryption:get")
        limit = page_size(limit, KEYS_PER_PAGE)
        return await self._vault.page(caller.project, after=after or "", limit=limit)

    async def rotate(self, caller: Caller) -> int:
        """Seal with new keys from now on; how many queues had one."""
        allow(caller, "encryption:rotate")
        return await self._vault.rotate(caller.project)

    async def erase(self, caller: Caller) -> int:
        """Make unreadable for ever whatever is sealed; how many keys were erased."""
        allow(caller, "encryption:erase")
        return await self._vault.erase(caller.project)

    async def rewrap(self, caller: Caller) -> int:
        """Wrap every project's keys with the operator's first key; how many were not."""
        allow(caller, "encryption:rewrap")
        return await self._vault.rewrap()

    @property
    def _vault(self) -> KeyVault:
        if self._kept is None:
            raise InvalidInput("No encryption key is configured on this server.")
        return self._kept
