"""A MongoDB replica set of several members for tests, which elects quickly; its primary can be
asked to step down, killed and paused while the others go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from nuska.testing.engine import START_WITHIN, new_name, within
from nuska.testing.mongodb_server import REPLICA_SET, MongoServer

MEMBERS = 3
ELECTION_TIMEOUT_MS = 2_000
HEARTBEAT_MS = 500
ELECTS_WITHIN = 30.0


class Member(MongoServer):
    """One of several: ready when it answers, whoever leads."""

    def answers(self) -> bool:
        try:
            return bool(self.ask("ping")["ok"])
        except PyMongoError:
            return False

    def leads(self) -> bool:
        try:
            return bool(self.ask("hello")["isWritablePrimary"])
        except PyMongoError:
            return False


class MongoSet:
    """Members that copy from each other."""

    def __init__(self, directory: Path) -> None:
        self.members = [Member(directory / f"member-{n}") for n in range(MEMBERS)]

    def new_url(self, *options: str) -> str:
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        query = "&".join([f"replicaSet={REPLICA_SET}", *options])
        return f"mongodb://{hosts}/{new_name()}?{query}"

    def start(self) -> None:
        for member in self.members:
            member.start()
        self.members[0].ask("replSetInitiate", self._configuration())
        if not within(START_WITHIN, self._is_complete):
            raise RuntimeError(f"no replica set: {self.members[0].last_words()}")

    def _configuration(self) -> dict[str, Any]:
        members = [
            {"_id": number, "host": f"127.0.0.1:{member.port}"}
            for number, member in enumerate(self.members)
        ]
        settings = {
            "electionTimeoutMillis": ELECTION_TIMEOUT_MS,
            "heartbeatIntervalMillis": HEARTBEAT_MS,
        }
        return {"_id": REPLICA_SET, "members": members, "settings": settings}

    def _is_complete(self) -> bool:
        try:
            states = self.members[0].ask("replSetGetStatus")["members"]
        except PyMongoError:
            return False
        return sorted(one["stateStr"] for one in states) == ["PRIMARY", "SECONDARY", "SECONDARY"]

    def mend(self) -> None:
        """Everybody runs, and one leads."""
        for member in self.members:
            member.resume()
            member.start()
        if not within(ELECTS_WITHIN, self._is_complete):
            raise RuntimeError(f"the set does not mend: {self.members[0].last_words()}")

    def primary(self) -> Member:
        found: list[Member] = []

        def one_leads() -> bool:
            found[:] = [member for member in self.members if member.leads()]
            return len(found) == 1

        if not within(ELECTS_WITHIN, one_leads):
            raise RuntimeError("nobody leads the set, or several do")
        return found[0]

    def secondaries(self) -> list[Member]:
        primary = self.primary()
        return [member for member in self.members if member is not primary]

    def allow_silence(self, milliseconds: int) -> None:
        """How long members do without each other before they elect somebody else."""
        primary = self.primary()
        configuration = primary.ask("replSetGetConfig")["config"]
        configuration["version"] += 1
        configuration["settings"]["electionTimeoutMillis"] = milliseconds
        primary.ask("replSetReconfig", configuration)

        def everybody_knows() -> bool:
            known = {one.ask("replSetGetConfig")["config"]["version"] for one in self.members}
            return known == {configuration["version"]}

        if not within(ELECTS_WITHIN, everybody_knows):
            raise RuntimeError("a member does not learn how the set is set up")

    def kill(self) -> None:
        for member in self.members:
            member.kill()


@contextmanager
def mongodb_set(directory: Path) -> Iterator[MongoSet]:
    """A set that runs, with a primary."""
    servers = MongoSet(directory)
    try:
        servers.start()
        yield servers
    finally:
        servers.kill()
