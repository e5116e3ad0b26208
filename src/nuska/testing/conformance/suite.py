"""All parts of the suite that need nothing but an opened store."""

from nuska.testing.conformance.claims import ClaimConformance
from nuska.testing.conformance.concurrency import ConcurrencyConformance
from nuska.testing.conformance.dead_letters import DeadLetterConformance
from nuska.testing.conformance.delays import DelayConformance
from nuska.testing.conformance.deletion import DeletionConformance
from nuska.testing.conformance.expiry_and_sweep import (
    ExpiryConformance,
    SweepConformance,
    TimelineConformance,
)
from nuska.testing.conformance.idempotency import IdempotencyConformance
from nuska.testing.conformance.isolation import IsolationConformance
from nuska.testing.conformance.measuring import MeasuringConformance
from nuska.testing.conformance.messages import MessageConformance
from nuska.testing.conformance.pops import PopConformance
from nuska.testing.conformance.queues import QueueConformance
from nuska.testing.conformance.stats import StatsConformance


class StoreConformance(
    QueueConformance,
    StatsConformance,
    MessageConformance,
    MeasuringConformance,
    DelayConformance,
    ClaimConformance,
    DeletionConformance,
    PopConformance,
    DeadLetterConformance,
    IdempotencyConformance,
    ExpiryConformance,
    SweepConformance,
    TimelineConformance,
    IsolationConformance,
    ConcurrencyConformance,
):
    """Every promise of ``interfaces/storage.py`` that holds for any store."""
