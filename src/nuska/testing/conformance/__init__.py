"""The storage promises as executable sentences.

A driver's test module subclasses ``StoreConformance`` and provides the fixture ``store``,
an opened ``Store`` whose timeline is that of the fixture ``clock``. A durable one also
subclasses ``DurabilityConformance`` and provides ``reopen``. Nothing in the suite knows
which driver it runs on.

One that a URL says everything about, and that keeps what it holds, is a
``ByUrlConformance`` instead: it provides ``url``. One that several nodes share also provides
``engine``, a server in a test's hands, for ``FailureConformance``,
``NetworkFaultConformance``, ``LostHintConformance`` and ``ServiceFailureConformance``,
``new_url``, which gives empty stores, for ``LaggingClockConformance``, and for
``ProcessConformance`` nothing but ``url``.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        async def store(self, clock: ManualClock) -> AsyncIterator[Store]:
            ...

The suite needs pytest with pytest-asyncio in ``auto`` mode.
"""

import pytest

PARTS = (
    "announcements",
    "by_url",
    "carried_logs",
    "claims",
    "concurrency",
    "dead_letters",
    "delays",
    "deletion",
    "durability",
    "durable_logs",
    "expiry_and_sweep",
    "failures",
    "forgetting",
    "full_nodes",
    "idempotency",
    "inbox",
    "isolation",
    "lagging_clocks",
    "limited_nodes",
    "measuring",
    "messages",
    "network_faults",
    "nodes",
    "pops",
    "processes",
    "queues",
    "quotas",
    "records",
    "skewed_nodes",
    "service_failures",
    "shared_logs",
    "stats",
    "suite",
    "transfers",
    "wakeups",
)
# Before they are imported: a failing sentence then shows what it compared.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in PARTS))

from nuska.testing.conformance.announcements import AnnouncementConformance  # noqa: E402
from nuska.testing.conformance.by_url import ByUrlConformance  # noqa: E402
from nuska.testing.conformance.carried_logs import CarriedLogConformance  # noqa: E402
from nuska.testing.conformance.durability import DurabilityConformance, Reopen  # noqa: E402
from nuska.testing.conformance.durable_logs import DurableLogConformance  # noqa: E402
from nuska.testing.conformance.failures import (  # noqa: E402
    FailureConformance,
    LostHintConformance,
)
from nuska.testing.conformance.forgetting import ForgettingConformance  # noqa: E402
from nuska.testing.conformance.lagging_clocks import LaggingClockConformance  # noqa: E402
from nuska.testing.conformance.network_faults import NetworkFaultConformance  # noqa: E402
from nuska.testing.conformance.processes import ProcessConformance  # noqa: E402
from nuska.testing.conformance.quotas import (  # noqa: E402
    SharedStockQuotaConformance,
    StockQuotaConformance,
)
from nuska.testing.conformance.records import RecordConformance  # noqa: E402
from nuska.testing.conformance.service_failures import ServiceFailureConformance  # noqa: E402
from nuska.testing.conformance.shared_logs import SharedLogConformance  # noqa: E402
from nuska.testing.conformance.suite import StoreConformance  # noqa: E402
from nuska.testing.conformance.transfers import TransferConformance  # noqa: E402

__all__ = [
    "AnnouncementConformance",
    "ByUrlConformance",
    "CarriedLogConformance",
    "DurabilityConformance",
    "DurableLogConformance",
    "FailureConformance",
    "ForgettingConformance",
    "LaggingClockConformance",
    "LostHintConformance",
    "NetworkFaultConformance",
    "ProcessConformance",
    "RecordConformance",
    "Reopen",
    "ServiceFailureConformance",
    "SharedLogConformance",
    "SharedStockQuotaConformance",
    "StockQuotaConformance",
    "StoreConformance",
    "TransferConformance",
]
