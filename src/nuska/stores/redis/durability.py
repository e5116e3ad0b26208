"""What an acknowledged write survives, as the servers' settings say, and how to make it more.

The settings are the operator's; nothing here changes them. Where they may not be read, that
is said instead. What is demanded beyond them is waited for after every write: WAITAOF where
the server has it, else WAIT, which knows replicas but not their disks.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct
from redis.exceptions import ResponseError

from nuska.interfaces.storage import Durability
from nuska.stores.redis.lane import Confirmation, TooWeak

CONFIRM_WITHIN = 2000
"""Milliseconds; with appendfsync everysec a sync may be a second away."""

Ask = Callable[..., Awaitable[Any]]
"""One command to one server."""


class Found(Struct, frozen=True, kw_only=True):
    """What a server says of itself."""

    is_primary: bool = True
    replicas: int = 0
    """Connected, and in step."""
    readable: bool = True
    """We may read its settings; else the next three are not known."""
    appends: bool = False
    policy: str = ""
    snapshots: bool = False
    can_wait_for_disks: bool = False
    """It has WAITAOF; looked at only when something is demanded."""


class Promise(Struct, frozen=True):
    """What one server promises."""

    rank: int
    """Of the settings alone, to find the weakest server: 3 is synced before the answer."""
    level: Durability
    sentence: str
    confirmation: Confirmation | None = None


SYNCED = 3


class Demand:
    """What every server of a store has to keep, and what it promises in consequence."""

    def __init__(self, required: Durability, replicas: int | None = None) -> None:
        """``replicas``: how many each primary ought to have, if somebody said so."""
        self.required = required
        self._expected = replicas
        self._most_seen = 0

    async def confirmation(self, ask: Ask) -> Confirmation | None:
        """What is to follow every write on a new connection; raises ``TooWeak``."""
        if self.required is Durability.NONE:
            return None
        found = await self._look(ask)
        return self._promise(found).confirmation if found.is_primary else None

    async def promise(self, ask: Ask) -> Promise:
        """What a server promises now; raises ``TooWeak`` when that is less than is demanded."""
        return self._promise(await self._look(ask))

    async def test(self, ask: Ask) -> None:
        """Raise ``TooWeak`` unless the server confirms here and now what is waited for."""
        confirmation = await self.confirmation(ask)
        if confirmation is not None and not confirmation.is_met(await ask(*confirmation.command)):
            raise TooWeak(
                f"{self._demand}: Redis did not confirm within {CONFIRM_WITHIN // 1000} seconds "
                f"({' '.join(map(str, confirmation.command))}). Are the replicas in step, and, "
                "for WAITAOF, with appendonly yes?"
            )

    @property
    def _demand(self) -> str:
        return f"--require-durability {self.required.name.lower()}"

    async def _look(self, ask: Ask) -> Found:
        found = await look(ask, closely=self.required is not Durability.NONE)
        self._most_seen = max(self._most_seen, found.replicas)
        return found

    def _promise(self, found: Found) -> Promise:
        plain = _by_settings(found)
        if self.required is Durability.NONE:
            return plain
        waits_for_disks = self._waits_for_disks(found)
        if self.required is Durability.FSYNC:
            if not waits_for_disks:
                return plain
            text = (
                f"every acknowledged write has been synced to disk (Redis, WAITAOF); {_of(found)}"
            )
            command = ("WAITAOF", 1, 0, CONFIRM_WITHIN)
            return Promise(SYNCED, Durability.FSYNC, text, Confirmation(command, (1, 0)))
        needed, expected = self._needed()
        if waits_for_disks or found.can_wait_for_disks:
            text = "synced to disk there and on"
            confirmation = Confirmation(("WAITAOF", 1, needed, CONFIRM_WITHIN), (1, needed))
        else:
            text = "synced to disk there and received by"
            confirmation = Confirmation(("WAIT", needed, CONFIRM_WITHIN), (needed,))
        sentence = (
            f"every acknowledged write has been {text} {needed} of "
            f"{expected} replica{'s' if expected > 1 else ''} (Redis, {confirmation.name})"
        )
        return Promise(SYNCED, Durability.MAJORITY, sentence, confirmation)

    def _waits_for_disks(self, found: Found) -> bool:
        """Whether WAITAOF must make up for the settings; raises ``TooWeak`` if it cannot."""
        if found.readable and not found.appends:
            raise TooWeak(
                f"{self._demand}: Redis syncs nothing to disk (appendonly no). Set appendonly yes "
                "and appendfsync always."
            )
        if found.readable and found.policy == "always":
            return False
        if found.can_wait_for_disks:
            return True
        if not found.readable:
            raise TooWeak(
                f"{self._demand}: whether Redis syncs to disk is not known, because this user may "
                "not read its settings and it has no WAITAOF (7.2). Allow CONFIG GET to the user."
            )
        raise TooWeak(
            f"{self._demand}: Redis acknowledges before it syncs (appendfsync {found.policy}). Set "
            "appendfsync always; from Redis 7.2 on, everysec will do."
        )

    def _needed(self) -> tuple[int, int]:
        """How many replicas make a majority with their primary, and of how many.

        Counted from the most that were ever seen: a primary that is cut off sees fewer.
        """
        expected = self._most_seen if self._expected is None else self._expected
        if not expected:
            raise TooWeak(
                f"{self._demand}: Redis has no replica in step, so there is no majority to wait "
                "for."
            )
        return (expected + 1) // 2, expected


async def look(ask: Ask, *, closely: bool) -> Found:
    """Read what may be read; ``closely``, also whether the server can wait for disks."""
    is_primary, replicas = await _replication(ask)
    can_wait = closely and await _has_waitaof(ask)
    try:
        answer = await ask("CONFIG", "GET", "append*")
        saves = await ask("CONFIG", "GET", "save")
    except ResponseError:
        return Found(
            is_primary=is_primary, replicas=replicas, readable=False, can_wait_for_disks=can_wait
        )
    settings = dict(zip(answer[::2], answer[1::2], strict=True))
    return Found(
        is_primary=is_primary,
        replicas=replicas,
        appends=settings.get(b"appendonly") == b"yes",
        policy=settings.get(b"appendfsync", b"everysec").decode(),
        snapshots=bool(saves and saves[-1]),
        can_wait_for_disks=can_wait,
    )


def _by_settings(found: Found) -> Promise:
    """What the settings alone promise."""
    none, copies = Durability.NONE, _of(found)
    if not found.readable:
        text = "not known: Redis does not let this user read its settings (CONFIG GET)"
        return Promise(1, none, f"{text}; {copies}")
    if not found.appends:
        if found.snapshots:
            text = "a restart of Redis loses what was written since its last snapshot"
            return Promise(1, none, f"{text} (appendonly no); {copies}")
        text = "nothing: Redis keeps everything in memory only"
        return Promise(0, none, f"{text} (appendonly no, no snapshots); {copies}")
    level = none
    match found.policy:
        case "always":
            rank, level = SYNCED, Durability.FSYNC
            text = "every acknowledged write has been synced to disk"
        case "everysec":
            rank, text = 2, "a crash of the machine loses up to two seconds of acknowledged writes"
        case _:
            rank, text = 1, "a crash of the machine loses what the system had not yet written"
    return Promise(rank, level, f"{text} (Redis, appendfsync {found.policy}); {copies}")


def _of(found: Found) -> str:
    return {
        0: "no replica",
        1: "one replica, which gets writes after they are acknowledged",
    }.get(
        found.replicas, f"{found.replicas} replicas, which get writes after they are acknowledged"
    )


async def _replication(ask: Ask) -> tuple[bool, int]:
    """Whether it takes writes, and how many replicas are in step."""
    try:
        text = await ask("INFO", "replication")
    except ResponseError:
        return True, 0
    lines = dict(line.partition(":")[::2] for line in text.decode().splitlines())
    in_step = [
        name
        for name, value in lines.items()
        if name.startswith("slave") and "state=online" in value.split(",")
    ]
    return lines.get("role") != "slave", len(in_step)


async def _has_waitaof(ask: Ask) -> bool:
    try:
        await ask("WAITAOF", 0, 0, 1)
    except ResponseError:
        return False
    return True
