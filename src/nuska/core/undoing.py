"""What was taken for somebody goes back when he turns out not to get it.

A request may fail between taking and answering, or be cut off there because the process stops;
then the messages must be where they were. Refuses to decide who may have them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from nuska.domain.errors import NuskaError

log = logging.getLogger("nuska.undoing")

Undo = Callable[[], Awaitable[None]]
"""Gives back what was taken."""


@asynccontextmanager
async def undone_on_failure(undo: Undo | None) -> AsyncIterator[None]:
    """``undo`` what was taken when anything goes wrong inside, also when it is cut off."""
    try:
        yield
    except BaseException:
        if undo is not None:
            await given_back(undo)
        raise


async def given_back(undo: Undo) -> None:
    """As ``carried_out``, where nobody can be told any more when that fails."""
    try:
        await carried_out(undo)
    except NuskaError as error:
        log.warning(
            "what was taken for nobody is not given back", extra={"reason": error.description}
        )


async def carried_out(undo: Undo) -> None:
    """To its end, though whoever waits for that be cut off meanwhile."""
    await asyncio.shield(undo())
