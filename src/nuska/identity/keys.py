"""API keys of the service's own as a proof of who is calling. What is kept of one is read anew
after a second of use, so that one revoked on another node is refused here soon after."""

from collections.abc import Callable

from nuska.core.key_uses import KeyUses
from nuska.core.keys import GRANT, KeyService
from nuska.domain.moments import seconds
from nuska.identity.remembered import Belief, Remembered
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Verified, Watch
from nuska.interfaces.storage import RandomBytes

BELIEF = Belief(
    recheck_after=seconds(1),
    believed_for=seconds(5),
    refused_for=seconds(1),
    max_kept=10_000,
    # A read for every device that is connected: seldom, since it is for all of them, all the time.
    watched_recheck_after=seconds(10),
    watched_for=seconds(30),
)
CHALLENGE = 'Bearer realm="nuska"'


class KeyTokens:
    """Implements ``TokenVerifier``."""

    def __init__(
        self, keys: KeyService, uses: KeyUses, clock: Clock, random_bytes: RandomBytes
    ) -> None:
        self._uses = uses
        self._remembered = Remembered(keys.who, clock, BELIEF, random_bytes)
        keys.revoked.append(self._forget)

    def cached(self, token: str) -> Verified | None:
        verified = self._remembered.cached(token)
        if verified is not None:
            self._note(verified)
        return verified

    async def verify(self, token: str) -> Verified:
        verified = await self._remembered.verify(token)
        self._note(verified)
        return verified

    def watch(self, token: str, verified: Verified) -> Watch:
        return _InUse(self._remembered.watch(token, verified), self._note)

    async def close(self) -> None:
        await self._remembered.close()

    def _note(self, verified: Verified) -> None:
        assert verified.grant is not None, "a key always says what it grants"
        assert verified.project is not None, "and whose it is"
        self._uses.note(verified.project, verified.grant.id.removeprefix(GRANT))

    def _forget(self, id_: str) -> None:
        grant = f"{GRANT}{id_}"
        self._remembered.forget(lambda known: known.grant is not None and known.grant.id == grant)


class _InUse:
    """A key is used for as long as something rests on it."""

    def __init__(self, watch: Watch, note: Callable[[Verified], None]) -> None:
        self._watch = watch
        self._note = note

    def look(self) -> Verified | None:
        verified = self._watch.look()
        if verified is not None:
            self._note(verified)
        return verified
