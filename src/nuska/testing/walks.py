"""How far tests walk that let Hypothesis choose the way.

As far as `make test` has time for; `make walks` sets ``NUSKA_WALKS`` and goes that many times as
far. Refuses to shrink what it finds on a real server: that costs minutes, and the way is printed.
"""

import os

from hypothesis import HealthCheck, Phase, settings

VARIABLE = "NUSKA_WALKS"


def walks(number: int, *, steps: int, shrinks: bool = False) -> settings:
    """Settings for so many walks of so many steps each."""
    plain = settings(
        max_examples=number * int(os.environ.get(VARIABLE, "1")),
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return plain if shrinks else settings(plain, phases=[Phase.reuse, Phase.generate])
