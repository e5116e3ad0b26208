"""Several processes at work on one shared store, one of them killed, and what came of it.

Runs ``nuska.testing.store_worker`` so often at once, ends one with SIGKILL in the middle of
its work, lets the others take over, and then looks at what every one of them was told and at
what is left. The history goes to ``nuska.testing.verdicts``; what only the store's own time
can show is looked at here. Needs nothing of a store but its URL.
"""

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import Store
from nuska.testing.histories import Deletion, Found, History, Post, Release, Renewal, Request, Take
from nuska.testing.store_worker import (
    CLAIM_TTL,
    DEAD,
    DELAY,
    KINDS,
    LATER,
    PASSING,
    SHORT_LIFE,
    WORK,
    Handed,
    Line,
    Over,
    Prolonged,
    Ready,
    opened,
)
from nuska.testing.verdicts import Report, judge

NO_SKEW = (0, 0, 0)
TAKES_BEFORE_DEATH = 15
"""Claims of the victim after which it is killed: it still posts, and holds some."""
DYING = 1.0
"""Seconds after which nothing more comes of what the victim had asked for."""
PATIENCE = 180.0
"""Seconds for the work of all of them."""
CLAIMABLE_WITHIN = 1_000
"""Milliseconds after its claim has ended in which a message can be claimed (I5)."""
SLACK = 1_000
"""Milliseconds more, for workers that are busy elsewhere on a small machine."""
CLOCK_ERROR = 1_000
"""Milliseconds by which measurements of the server's time may differ on a busy machine."""
LINE_AT_MOST = 1_000_000
PAGE = 1_000_000
SWEEPS_AT_MOST = 10_000


class Outcome(msgspec.Struct, kw_only=True):
    """What a run has shown."""

    report: Report
    problems: list[str]
    """Everything that must not be; empty when all is well."""
    deaths: int
    """Processes that were killed at work."""
    taken_over: int
    """Messages that somebody else claimed after their claim had run out."""
    delivered: int


class Process:
    """One of them, and all it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: dict[int, Line] = {}
        self.takes = 0
        self.is_ready = False
        self.has_ended = False

    @classmethod
    async def start(cls, url: str, name: str, skew: int) -> "Process":
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "nuska.testing.store_worker", url, name),
                *("--skew", str(skew)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                limit=LINE_AT_MOST,
            )
        )

    async def listen(self, said: asyncio.Condition) -> None:
        """Until it has nothing more to say."""
        assert self._process.stdout is not None
        while text := await self._process.stdout.readline():
            line = msgspec.json.decode(text, type=Line)
            self.lines[line.number] = line
            self.takes += line.kind == Handed.__name__
            self.is_ready = self.is_ready or line.kind == Ready.__name__
            async with said:
                said.notify_all()
        self.has_ended = True
        async with said:
            said.notify_all()

    def kill(self) -> None:
        self._process.kill()

    async def end(self) -> int:
        """Let it finish what it is about; what it exits with."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self._process.wait()

    async def put_away(self) -> None:
        """However the run went."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def run_processes(url: str, skews: Sequence[int] = NO_SKEW) -> Outcome:
    """One process for each skew, and one more that is killed."""
    said = asyncio.Condition()
    processes: list[Process] = []
    listening: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(PATIENCE), opened(url) as (store, clock):
            began = await store.time()
            for number, skew in enumerate((*skews, skews[0])):
                processes.append(await Process.start(url, f"process-{number}", skew))
                listening.append(asyncio.create_task(processes[-1].listen(said)))
            *survivors, victim = processes
            async with said:
                await said.wait_for(
                    lambda: victim.takes >= TAKES_BEFORE_DEATH or _one_has_ended(processes)
                )
                assert not _one_has_ended(processes), "one ended by itself, and has said why"
            at_work = not victim.is_ready
            victim.kill()
            died = time.monotonic() + DYING
            async with said:
                await said.wait_for(lambda: all(one.is_ready or one.has_ended for one in survivors))
            await asyncio.sleep(2 * CLAIM_TTL / 1000)  # what it held is over, and taken over
            exits = await asyncio.gather(*(one.end() for one in survivors))
            await asyncio.gather(*listening)
            history = History()
            problems = [f"a process ended with {code}" for code in exits if code]
            problems += await _at_rest(store, clock, history)
            ended = await store.time()
    finally:
        for process in processes:
            await process.put_away()
    told = [line for process in processes for line in process.lines.values()]
    moments = _Moments(told)
    _fill(history, told, died)
    report = judge(history)
    problems += report.problems + moments.problems(began, ended)
    return Outcome(
        report=report,
        problems=problems,
        deaths=int(at_work),
        taken_over=moments.taken_over,
        delivered=len(moments.handed),
    )


def _one_has_ended(processes: Sequence[Process]) -> bool:
    return any(one.has_ended for one in processes)


def _decode(line: Line) -> msgspec.Struct:
    return msgspec.json.decode(line.said, type=KINDS[line.kind])


def _fill(history: History, told: list[Line], died: float) -> None:
    """What concerns the queue that nobody's time runs out in, request by request."""
    for line in told:
        if line.refused:
            continue
        said = _decode(line)
        if isinstance(said, Request):
            said.ended = said.ended or died
        match said:
            case Post() as post:
                history.posts.append(post)
            case Take() as take if take.queue == WORK.name:
                history.takes.append(take)
            case Renewal() as renewal:
                history.renewals.append(renewal)
            case Release() as release:
                history.releases.append(release)
            case Deletion() as deletion:
                history.deletions.append(deletion)
    claims = {take.claim_id for take in history.takes}
    history.renewals = [one for one in history.renewals if one.claim_id in claims]
    history.releases = [one for one in history.releases if one.claim_id in claims]


async def _at_rest(store: Store, clock: Clock, history: History) -> list[str]:
    """Note what is left once everything has come to rest; whether the counts say so (I14)."""
    for _ in range(SWEEPS_AT_MOST):
        if not (await store.sweep(now=clock.now())).more:
            break
    problems = []
    for queue in (WORK, DEAD, LATER, PASSING):
        left = await _everything(store, clock, queue)
        stats = await store.queues.stats(queue, now=clock.now())
        counted = stats.ready + stats.delayed + stats.claimed
        again = await _everything(store, clock, queue)
        if not min(len(left), len(again)) <= counted <= max(len(left), len(again)):
            problems.append(f"{queue.name} counts {counted}, and there are {len(left)}")
        if queue in (WORK, DEAD):
            history.found += [Found(queue=queue.name, id=one, body=body) for one, body in left]
    return problems


async def _everything(store: Store, clock: Clock, queue: QueueRef) -> list[tuple[str, str]]:
    page = await store.messages.page(
        queue,
        after=BEFORE_ALL,
        limit=PAGE,
        include_claimed=True,
        include_delayed=True,
        now=clock.now(),
    )
    return [(one.id, msgspec.json.decode(one.body, type=str)) for one in page.messages]


class _Moments:
    """Claims by the store's own time, to the millisecond."""

    def __init__(self, told: list[Line]) -> None:
        self.handed: list[Handed] = []
        self.taken_over = 0
        self._until: dict[str, int] = {}
        """By claim: the end that it was given last."""
        self._over: dict[str, int] = {}
        for line in told:
            match _decode(line):
                case Handed() as one:
                    self.handed.append(one)
                case Prolonged() as renewed:
                    self._until[renewed.claim_id] = renewed.until
                case Over() as over:
                    self._over[over.claim_id] = over.at

    def problems(self, began: Moment, ended: Moment) -> list[str]:
        by_message: dict[str, list[Handed]] = defaultdict(list)
        for one in self.handed:
            by_message[one.message_id].append(one)
        found: list[str] = []
        for deliveries in by_message.values():
            deliveries.sort(key=lambda one: one.count)
            found += self._of_one_message(deliveries)
        found += [
            f"{one.message_id} was claimed at {one.begins}, and the server's time was between "
            f"{began} and {ended}"
            for one in self.handed
            if not began - CLOCK_ERROR <= one.begins <= ended + CLOCK_ERROR
        ]
        return found

    def _of_one_message(self, deliveries: list[Handed]) -> list[str]:
        """Its claims never overlap (I2), are counted (I7), begin in time (I5), and only while
        it is to be had (I9)."""
        found = []
        first = deliveries[0]
        name = f"{first.message_id} of {first.queue}"
        if first.queue == LATER.name and first.begins < first.created + DELAY:
            found.append(f"{name} was claimed before its delay was over")
        if (
            first.queue == PASSING.name
            and first.count == 1
            and first.begins >= first.created + SHORT_LIFE
        ):
            found.append(f"{name} was claimed after its end")
        for earlier, later in pairwise(deliveries):
            released = self._over.get(earlier.claim_id)
            end = max(earlier.ends, self._until.get(earlier.claim_id, 0))
            if later.count <= earlier.count:
                found.append(f"{name} was counted {earlier.count}, and then {later.count}")
            if later.begins < (end if released is None else min(end, released)):
                found.append(
                    f"{name} was in two claims: {earlier}, renewed until "
                    f"{self._until.get(earlier.claim_id)}, given up at {released}; {later}"
                )
            if released is None and later.count == earlier.count + 1:
                self.taken_over += 1
                if later.begins > end + CLAIMABLE_WITHIN + SLACK and first.queue == WORK.name:
                    found.append(f"{name} was claimed {later.begins - end} ms after its claim")
        return found
