"""Quotas for programs without an event loop; ``quotas`` says what each call does."""

from collections.abc import Mapping

from nuska.client.blocking_pools import Runner
from nuska.client.quotas import Quota, Quotas


class BlockingQuotas:
    """See ``Quotas``."""

    def __init__(self, portal: Runner, quotas: Quotas) -> None:
        self._portal = portal
        self._quotas = quotas

    def show(self, project: str | None = None) -> Quota:
        return self._portal.run(self._quotas.show(project))

    def set(self, project: str, limits: Mapping[str, int | None]) -> Quota:
        return self._portal.run(self._quotas.set(project, limits))

    def reset(self, project: str) -> None:
        self._portal.run(self._quotas.reset(project))
