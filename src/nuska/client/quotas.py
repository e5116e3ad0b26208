"""What projects may have and how fast they may go; changing it needs the role ``admin``."""

from collections.abc import Mapping

from msgspec import Struct

from nuska.client.address import segment
from nuska.client.connection import Connection
from nuska.client.encoding import encode_json

_JSON = {"Content-Type": "application/json"}


class Quota(Struct, frozen=True, kw_only=True):
    """What a project may have, and how much of it there is."""

    project: str
    limits: dict[str, int | None]
    """By name; None: no limit."""
    overrides: dict[str, int | None] = {}
    """Those of the limits that were set for this project."""
    use: dict[str, int] = {}
    """Of what is counted."""


class Quotas:
    """Made by ``Client.quotas``."""

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self._project = project

    async def show(self, project: str | None = None) -> Quota:
        """The client's own project's, or, for an operator, another one's."""
        return (await self._connection.call("GET", self._href(project))).read(Quota)

    async def set(self, project: str, limits: Mapping[str, int | None]) -> Quota:
        """Set these limits for a project, in place of all that were set for it; None: no limit.
        What is not among them is as for every project."""
        body = encode_json(dict(limits))
        answer = await self._connection.call("PUT", self._href(project), body=body, headers=_JSON)
        return answer.read(Quota)

    async def reset(self, project: str) -> None:
        """Let the limits of all projects hold for this one."""
        await self._connection.call("DELETE", self._href(project))

    def _href(self, project: str | None) -> str:
        return f"/v2/quotas/{segment(self._project if project is None else project)}"
