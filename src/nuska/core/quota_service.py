"""What a project may have and what it has, in one call; and what an operator says about that."""

import re
from collections.abc import Mapping

from msgspec import Struct

from nuska.core.access import allow
from nuska.core.quotas import Meter, QuotaBook
from nuska.domain.errors import InvalidInput, NotAllowed
from nuska.domain.limits import MAX_PROJECT_ID
from nuska.domain.quotas import Override, Quota
from nuska.interfaces.identity import Caller

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]").search


class ShownQuota(Struct, frozen=True, kw_only=True):
    project: str
    limits: Quota
    override: Override
    """What was said about this project; the other limits are those of all."""
    use: Mapping[str, int]
    """How much of what there is a limit for, as far as somebody counts."""


class QuotaService:
    def __init__(self, book: QuotaBook, *, for_operators: bool) -> None:
        """``for_operators``: here they reach what is not of their own project."""
        self._book = book
        self._for_operators = for_operators
        self._meters: list[Meter] = []

    def ask(self, meter: Meter) -> None:
        """Whoever counts something is asked for it when somebody wants to see it."""
        self._meters.append(meter)

    async def show(self, caller: Caller, project: str) -> ShownQuota:
        """Everybody may see his own project's; who may set them, any."""
        allow(caller, "quotas:get")
        if project != caller.project:
            allow(caller, "quotas:set")
            self._check(project)
        return await self._shown(project)

    async def put(self, caller: Caller, project: str, override: Override) -> ShownQuota:
        """Say this about a project, in place of all that was said before; here it holds at
        once, on other nodes within seconds."""
        allow(caller, "quotas:set")
        self._check(project)
        if override == Override():
            await self._book.reset(project)
        else:
            await self._book.put(project, override)
        return await self._shown(project)

    async def reset(self, caller: Caller, project: str) -> None:
        """What holds for all holds for the project; it need not have been otherwise."""
        allow(caller, "quotas:set")
        self._check(project)
        await self._book.reset(project)

    async def _shown(self, project: str) -> ShownQuota:
        use: dict[str, int] = {}
        for meter in self._meters:
            use |= await meter.use(project)
        return ShownQuota(
            project=project,
            limits=self._book.of(project),
            override=self._book.said_about(project),
            use=use,
        )

    def _check(self, project: str) -> None:
        if not self._for_operators:
            raise NotAllowed("You are not authorized to do this: here you see your own quota only.")
        if len(project) > MAX_PROJECT_ID or _CONTROL_CHARACTER(project):
            raise InvalidInput(
                f"The project's id must be at most {MAX_PROJECT_ID} characters, and none of them "
                "a control character."
            )
