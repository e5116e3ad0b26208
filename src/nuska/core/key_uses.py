"""When keys were used last: noted as they are used, written down now and then.

To the hour: whoever looks wants to know which keys nobody needs any more, and a write for every
use would cost more than the use. What a crash loses is at most what was not written yet.
"""

import asyncio
import logging

from nuska.core.key_records import KeyRecords
from nuska.domain.errors import NuskaError
from nuska.domain.moments import Moment
from nuska.interfaces.clock import Clock

GRAIN = 3_600_000
"""Milliseconds."""
WRITTEN_EVERY = 60.0
"""Seconds."""
MAX_NOTED = 10_000
"""Keys; of more, the use is not written down until there is room."""

log = logging.getLogger("nuska.keys")


class KeyUses:
    def __init__(self, records: KeyRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._noted: dict[str, str] = {}
        """Project by id."""
        self._written: dict[str, int] = {}
        """The hour that was written, by id."""
        self._stop = asyncio.Event()

    def note(self, project: str, id_: str) -> None:
        if len(self._noted) < MAX_NOTED:
            self._noted[id_] = project

    async def run(self) -> None:
        """Write down now and then, and once more at the end."""
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(WRITTEN_EVERY):
                    await self._stop.wait()
            except TimeoutError:
                pass
            await self.write()

    def stop(self) -> None:
        self._stop.set()

    async def write(self) -> None:
        noted, self._noted = self._noted, {}
        hour = self._clock.now() // GRAIN
        if len(self._written) > MAX_NOTED:
            self._written.clear()
        for id_, project in noted.items():
            if self._written.get(id_) == hour:
                continue
            try:
                await self._records.note_use(project, id_, Moment(hour * GRAIN))
            except NuskaError as error:
                log.debug("the use of a key cannot be written", extra={"reason": error.description})
                return
            self._written[id_] = hour
