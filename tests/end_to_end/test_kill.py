"""Thirty times SIGKILL, at random moments, and nothing acknowledged is lost (I1, I23)."""

from pathlib import Path

import pytest

from nuska.testing.kill_harness import kill_and_judge

KILLS = 30
"""For more: ``python -m nuska.testing.kill_harness --kills 500``."""


@pytest.mark.slow
async def test_a_server_killed_thirty_times_loses_nothing(tmp_path: Path) -> None:
    outcome = await kill_and_judge(tmp_path, kills=KILLS, seed=KILLS)
    print(outcome)
    report = outcome.report
    assert report.problems == []
    assert (report.lost, report.unexpected) == (0, 0)
    assert report.ok == report.acknowledged > 50 * KILLS, "too little happened to say anything"
