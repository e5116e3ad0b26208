"""What an acknowledged write survives, as the servers' settings say.

The settings are the operator's; nothing here changes them. Where ``CONFIG GET`` is denied,
that is said instead.
"""

from msgspec import Struct
from redis.exceptions import ResponseError

from nuska.stores.redis.lane import Lane


class Durability(Struct, frozen=True):
    """The weakest of what the servers promise."""

    rank: int
    """3: synced before the answer; 2: within a second; 1: snapshots or unknown; 0: nothing."""
    sentence: str
    replicas: int

    @property
    def survives_restart(self) -> bool:
        return self.rank == SYNCED


SYNCED = 3


async def durability(lanes: list[Lane]) -> Durability:
    """Ask every server; the weakest counts."""
    found = [await _of(lane) for lane in lanes]
    return min(found, key=lambda one: one.rank)


async def _of(lane: Lane) -> Durability:
    replicas = await _replicas(lane)
    copies = {
        0: "no replica",
        1: "one replica, which gets writes after they are acknowledged",
    }.get(replicas, f"{replicas} replicas, which get writes after they are acknowledged")
    try:
        answer = await lane.call("CONFIG", "GET", "append*")
        saves = await lane.call("CONFIG", "GET", "save")
    except ResponseError:
        return Durability(
            1,
            f"not known: Redis does not let this user read its settings (CONFIG GET); {copies}",
            replicas,
        )
    settings = dict(zip(answer[::2], answer[1::2], strict=True))
    policy = settings.get(b"appendfsync", b"everysec").decode()
    if settings.get(b"appendonly") != b"yes":
        if saves and saves[-1]:
            text = "a restart of Redis loses what was written since its last snapshot"
            return Durability(1, f"{text} (appendonly no); {copies}", replicas)
        text = "nothing: Redis keeps everything in memory only"
        return Durability(0, f"{text} (appendonly no, no snapshots); {copies}", replicas)
    match policy:
        case "always":
            rank, text = SYNCED, "every acknowledged write has been synced to disk"
        case "everysec":
            rank, text = 2, "a crash of the machine loses up to two seconds of acknowledged writes"
        case _:
            rank, text = 1, "a crash of the machine loses what the system had not yet written"
    return Durability(rank, f"{text} (Redis, appendfsync {policy}); {copies}", replicas)


async def _replicas(lane: Lane) -> int:
    try:
        text = await lane.call("INFO", "replication")
    except ResponseError:
        return 0
    for line in text.decode().splitlines():
        name, _, value = line.partition(":")
        if name == "connected_slaves":
            return int(value)
    return 0
