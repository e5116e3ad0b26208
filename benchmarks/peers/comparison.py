"""Nuska and another broker in turns, round after round, and what the rounds say.

A machine that slows down for a while slows both of a round, so what counts is the ratio of
rounds that ran next to each other; and of those, the ones in which others used least of it.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.figures import Figure, at_least, ratio_of_rounds
from benchmarks.peers.peer import Opened, Peer
from benchmarks.peers.phases import PHASES, Round, measure
from benchmarks.rounds import CALM

WARM_UP = 10
"""The part of a round's jobs that both carry before any is on the clock."""
FEWEST_ROUNDS = 3
CALMEST = 5
"""Rounds of a phase that count."""
LONGEST = 60.0
"""Seconds after which a pair begins no further round, once it has had the fewest."""


class Side(Struct, frozen=True):
    """A broker and its rounds."""

    name: str
    terms: str
    """How sure it is, and what its client has under way, in words."""
    rounds: list[Round]


class Pair(Struct, frozen=True):
    name: str
    ours: Side
    theirs: Side

    def ratios(self, *, target: bool) -> Iterator[Figure]:
        for phase in PHASES:
            ours, theirs = self._calmest(phase)
            yield Figure(
                phase=f"beside {self.name}",
                name=f"{phase}: Nuska beside {self.theirs.name}",
                value=ratio_of_rounds(
                    [one.rate(phase) for one in ours], [one.rate(phase) for one in theirs]
                ),
                unit="×",
                target=at_least(1.0) if target else None,
                note=f"{_told(ours, phase)}; {self.theirs.name} {_told(theirs, phase)}",
            )

    def _calmest(self, phase: str) -> tuple[list[Round], list[Round]]:
        """Of both sides."""

        def noise(pair: tuple[Round, Round]) -> float:
            noises: list[float] = [getattr(one, phase).noise for one in pair]
            return max(noises)

        pairs = sorted(zip(self.ours.rounds, self.theirs.rounds, strict=True), key=noise)[:CALMEST]
        return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]


async def compare(
    name: str, nuska: Opened, other: Opened, directory: Path, *, jobs: int, rounds: int
) -> Pair:
    """Both run at the same time, but only one of them has work."""
    home = directory / name
    home.mkdir()
    async with nuska(home) as ours, other(home) as theirs:
        pair = (ours, theirs)
        if any(peer.in_flight == 1 for peer in pair):
            jobs //= 5  # one after the other takes its time
        for peer in pair:
            await measure(peer, max(1, jobs // WARM_UP))
        found: dict[str, list[Round]] = {peer.name: [] for peer in pair}
        began = time.monotonic()
        for number in range(rounds):
            if number >= FEWEST_ROUNDS and time.monotonic() - began > LONGEST:
                break
            for peer in pair if number % 2 else reversed(pair):
                found[peer.name].append(await measure(peer, jobs))
        return Pair(name, *(Side(peer.name, _terms(peer), found[peer.name]) for peer in pair))


def rates(side: Side) -> Iterator[Figure]:
    """A row for each phase, with what is certain when a call returns."""
    for phase in PHASES:
        yield Figure(
            phase=side.name,
            name=f"{side.name}: {phase}",
            value=statistics.median(one.rate(phase) for one in side.rounds),
            unit="/s",
            note=side.terms,
        )


def _terms(peer: Peer) -> str:
    return f"{peer.durability}; {peer.in_flight} at once, {peer.claimers} claims"


def _told(rounds: Sequence[Round], phase: str) -> str:
    """The rate, what a job cost whom, and whether others disturbed."""
    spent = [getattr(one, phase) for one in rounds]
    jobs = sum(one.jobs for one in rounds)
    client, broker = (
        round(sum(getattr(one, who) for one in spent) / jobs * 1e6) for who in ("client", "broker")
    )
    others = sum(one.others for one in spent) / sum(one.time for one in spent)
    noise = f", others {others:.2f} cores" if others > CALM else ""
    rate = statistics.median(one.rate(phase) for one in rounds)
    return f"{rate:,.0f}/s (µs of CPU a job: client {client}, broker {broker}{noise})"
