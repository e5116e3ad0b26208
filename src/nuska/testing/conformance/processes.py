"""What a shared store promises to clients in several processes, whose clocks may be wrong.

A driver's tests subclass ``ProcessConformance`` and provide ``url``. I1 to I3, I6 to I9, I11,
I12 and I14 are judged over everything that the processes were told.
"""

import pytest

from nuska.testing.store_processes import NO_SKEW, run_processes

MINUTES = 60_000
SKEWS = (7 * MINUTES, -5 * MINUTES, 0)
"""Milliseconds by which the machines of nodes are wrong."""


class ProcessConformance:
    @pytest.fixture
    def url(self) -> str:
        """That of an empty store."""
        raise NotImplementedError("a driver's tests provide it")

    @pytest.mark.slow
    @pytest.mark.parametrize("skews", [NO_SKEW, SKEWS], ids=["right-clocks", "wrong-clocks"])
    async def test_processes_lose_nothing_and_share_nothing_though_one_is_killed_at_work(
        self, url: str, skews: tuple[int, ...]
    ) -> None:
        outcome = await run_processes(url, skews)
        assert outcome.problems == []
        assert outcome.deaths == 1, "the victim had done its work already, so this shows less"
        assert outcome.taken_over > 0, "no claim ran out, so this shows less"
        assert outcome.report.acknowledged > 0
        assert outcome.delivered > outcome.report.acknowledged / 2
