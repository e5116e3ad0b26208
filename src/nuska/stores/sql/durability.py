"""What the server's settings promise about an acknowledged write."""

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Durability(Struct, frozen=True):
    """What follows from the settings."""

    survives_restart: bool
    sentence: str


async def durability(connection: AsyncConnection) -> Durability:
    """Read the settings that decide."""
    settings = {}
    for name in ("fsync", "synchronous_commit", "synchronous_standby_names"):
        shown = await connection.execute(text(f"SHOW {name}"))
        settings[name] = str(shown.scalar_one())
    if settings["fsync"] == "off":
        return Durability(
            False,
            "An acknowledged message may be lost, and the whole database with it, when the "
            "machine of the PostgreSQL server crashes: its setting fsync is off.",
        )
    if settings["synchronous_commit"] == "off":
        return Durability(
            False,
            "Acknowledged messages of the last moments are lost when the PostgreSQL server "
            "crashes: its setting synchronous_commit is off.",
        )
    standby = settings["synchronous_standby_names"] and settings["synchronous_commit"] != "local"
    also = " and has reached a standby" if standby else ""
    return Durability(
        True, f"An acknowledged message is on the disk of the PostgreSQL server{also}."
    )
