"""What must be true of a history, however often the service died.

    lost          acknowledged, and neither deleted, popped, purged nor found (I1)
    duplicated    stored or handed out once more with a reason: a post without a key was
                  unknown and sent again, or the claim had ended (I7)
    unexpected    anything without a reason: in two live claims at once (I2), seen after its
                  acknowledged end (I3), never posted or other content (I6), out of order
                  (I8), part of a batch (I11), in two queues (I12), a key stored twice
    recovered     not acknowledged, and there all the same

Refuses to know how the history came about, so that it can be shown inventions.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from nuska.testing.histories import History, Post, Purge, Take

MARGIN = 0.5
"""Seconds by which clients and server may differ about a claim's end."""
_POSITION_DIGITS = 14
_COUNTS = ("attempts", "acknowledged", "ok", "lost", "duplicated", "unexpected", "recovered")


class Report(Struct, kw_only=True):
    """Numbers of messages; each that is lost or unexpected has a line in ``problems``."""

    attempts: int = 0
    acknowledged: int = 0
    ok: int = 0
    lost: int = 0
    duplicated: int = 0
    unexpected: int = 0
    recovered: int = 0
    problems: list[str] = []

    def __str__(self) -> str:
        return " / ".join(f"{name} {getattr(self, name)}" for name in _COUNTS)


def judge(history: History) -> Report:
    """Every number and every problem."""
    return _Judge(history).report()


class _Judge:
    def __init__(self, history: History) -> None:
        self._history = history
        self._report = Report()
        self._bodies: dict[str, str] = {}
        """By id, of everything that was acknowledged or seen."""
        self._sightings: dict[str, list[Take]] = defaultdict(list)
        for take in sorted(history.takes, key=lambda take: take.ended):
            for message_id, _ in take.messages:
                self._sightings[message_id].append(take)
        queues = {take.queue for take in history.takes}
        queues |= {found.queue for found in history.found}
        self._dead_letters = queues - {post.queue for post in history.posts}
        """Queues to which nobody posts."""

    def report(self) -> Report:
        self._check_content()
        self._check_acknowledged()
        self._check_attempts()
        self._check_deliveries()
        self._check_ends()
        self._check_posting_order()
        self._check_delivery_order()
        self._check_overtaking()
        return self._report

    def _problem(self, text: str) -> None:
        self._report.unexpected += 1
        self._report.problems.append(text)

    def _check_content(self) -> None:
        """An id has one body for ever, and it is one that was posted (I6)."""
        posted = {body for post in self._history.posts for body in post.bodies}
        for message_id, body in self._everything_named():
            known = self._bodies.setdefault(message_id, body)
            if known != body:
                self._problem(f"{message_id} has two bodies: {known:.60} and {body:.60}")
            elif body not in posted:
                self._problem(f"{message_id} was never posted: {body:.60}")
        self._report.attempts = len(posted)

    def _everything_named(self) -> Iterator[tuple[str, str]]:
        for post in self._history.posts:
            if post.known:
                yield from zip(post.ids, post.bodies, strict=True)
        for take in self._history.takes:
            yield from take.messages
        for found in self._history.found:
            yield found.id, found.body

    def _check_acknowledged(self) -> None:
        """Every acknowledged message is accounted for (I1)."""
        history, report = self._history, self._report
        gone = {deletion.message_id for deletion in history.deletions}
        gone |= {one for take in history.takes if not take.is_claim for one, _ in take.messages}
        gone |= {found.id for found in history.found}
        owners = {message_id: post for post in history.posts for message_id in post.ids}
        report.acknowledged = len(owners)
        report.recovered = len(self._bodies.keys() - owners.keys())
        missing: dict[str, list[str]] = defaultdict(list)
        for message_id, post in owners.items():
            if message_id not in gone and not self._maybe_purged(post):
                missing[post.queue].append(message_id)
        for queue, ids in missing.items():
            # A pop without an answer took at most as many as it asked for.
            lost = ids[sum(take.limit for take in self._blind_pops() if take.queue == queue) :]
            report.lost += len(lost)
            report.problems += [f"lost from {queue}: {one} {self._bodies[one]:.60}" for one in lost]
        report.ok = report.acknowledged - report.lost

    def _maybe_purged(self, post: Post) -> bool:
        return any(
            purge.queue == post.queue and purge.ended >= post.sent for purge in self._history.purges
        )

    def _blind_pops(self) -> list[Take]:
        """Pops without an answer: what they took nobody has seen."""
        return [take for take in self._history.takes if not take.known and not take.is_claim]

    def _check_attempts(self) -> None:
        """A body is stored once for each attempt at most, once in all with a key, and the
        messages of a batch equally often (I11)."""
        ids_of = Counter(self._bodies.values())
        attempts: dict[tuple[str, ...], list[Post]] = defaultdict(list)
        for post in self._history.posts:
            attempts[tuple(post.bodies)].append(post)
        unseen = {take.queue for take in self._blind_pops()}
        unseen |= {purge.queue for purge in self._history.purges}
        for bodies, posts in attempts.items():
            counts = [ids_of[body] for body in bodies]
            at_most = 1 if posts[0].key is not None else len(posts)
            if max(counts) > at_most:
                self._problem(f"stored {max(counts)} times, {at_most} at most: {bodies[0]:.60}")
            elif len(set(counts)) > 1 and posts[0].queue not in unseen:
                self._problem(f"part of a batch was stored: {counts} of {bodies[0]:.60}")
            self._report.duplicated += sum(max(count - 1, 0) for count in counts)

    def _check_deliveries(self) -> None:
        """Each delivery but the first has a reason (I2, I7)."""
        ends = self._claim_ends()
        for message_id, takes in self._sightings.items():
            for earlier, later in pairwise(takes):
                self._report.duplicated += 1
                if not earlier.is_claim:
                    self._problem(f"{message_id} was delivered after its pop")
                elif later.ended < ends[earlier.claim_id]:
                    self._problem(
                        f"{message_id} is in two live claims: "
                        f"{earlier.claim_id} and {later.claim_id or 'a pop'}"
                    )
                elif earlier.queue in self._dead_letters and later.queue != earlier.queue:
                    self._problem(f"{message_id} came back from {earlier.queue}")

    def _claim_ends(self) -> dict[str, float]:
        """The earliest moment at which each claim may have been over."""
        history = self._history
        ends = {take.claim_id: take.sent + take.ttl - MARGIN for take in history.takes}
        for renewal in history.renewals:
            if renewal.known:
                end = renewal.sent + renewal.ttl - MARGIN
                ends[renewal.claim_id] = max(ends[renewal.claim_id], end)
        for release in history.releases:
            ends[release.claim_id] = min(ends[release.claim_id], release.sent)
        return ends

    def _check_ends(self) -> None:
        """Nothing is seen after its acknowledged deletion, pop or purge, nor twice in the
        last walk (I3, I12)."""
        ended: dict[str, float] = {}
        for deletion in self._history.deletions:
            if deletion.known:
                end = ended.get(deletion.message_id, deletion.ended)
                ended[deletion.message_id] = min(end, deletion.ended)
        for take in self._history.takes:
            if not take.is_claim:
                for message_id, _ in take.messages:
                    ended.setdefault(message_id, take.ended)
        for post in self._history.posts:
            for purge in self._history.purges:
                if _certainly_purged(post, purge):
                    for message_id in post.ids:
                        ended.setdefault(message_id, purge.ended)
        for message_id, takes in self._sightings.items():
            if any(take.sent > ended.get(message_id, take.sent) for take in takes):
                self._problem(f"{message_id} was delivered after its end")
        for message_id, count in Counter(found.id for found in self._history.found).items():
            if message_id in ended:
                self._problem(f"{message_id} was found after its end")
            elif count > 1:
                self._problem(f"{message_id} was found in {count} places")

    def _check_posting_order(self) -> None:
        """What was acknowledged before another post was first sent stands before it (I8)."""
        began: dict[tuple[str, ...], float] = {}
        for post in self._history.posts:
            began.setdefault((post.queue, *post.bodies), post.sent)
        queues: dict[str, list[Post]] = defaultdict(list)
        for post in self._history.posts:
            if post.known:
                queues[post.queue].append(post)
        for queue, posts in queues.items():
            answered = sorted(posts, key=lambda post: post.ended)
            highest, done = "", 0
            for post in sorted(posts, key=lambda post: began[(queue, *post.bodies)]):
                start = began[(queue, *post.bodies)]
                while done < len(answered) and answered[done].ended < start:
                    highest = max(highest, max(answered[done].ids)[:_POSITION_DIGITS])
                    done += 1
                if post.ids != sorted(post.ids) or post.ids[0][:_POSITION_DIGITS] <= highest:
                    self._problem(f"{post.ids} of {queue} stand before earlier messages")

    def _check_delivery_order(self) -> None:
        """Deliveries and listings go by position (I8); dead letters have new ones."""
        for take in self._history.takes:
            ids = [message_id for message_id, _ in take.messages]
            if take.queue not in self._dead_letters and ids != sorted(ids):
                self._problem(f"out of order within a delivery from {take.queue}: {ids}")
        walk: dict[str, list[str]] = defaultdict(list)
        for found in self._history.found:
            walk[found.queue].append(found.id)
        for queue, ids in walk.items():
            if queue not in self._dead_letters and ids != sorted(ids):
                self._problem(f"out of order in the last walk of {queue}")

    def _check_overtaking(self) -> None:
        """While a message stood ready, nobody was given one behind it instead (I8)."""
        queues: dict[str, list[Take]] = defaultdict(list)
        for take in sorted(self._history.takes, key=lambda take: take.sent):
            queues[take.queue].append(take)
        starts = {queue: [take.sent for take in takes] for queue, takes in queues.items()}
        blind = [take for take in self._history.takes if not take.known]
        for post in self._history.posts:
            for message_id in post.ids:
                if message_id not in self._sightings:
                    continue
                first = self._sightings[message_id][0]
                if first.queue != post.queue or any(
                    take.queue == post.queue and take.ended > post.sent and take.sent < first.ended
                    for take in blind
                ):
                    continue  # it may have been in a claim that nobody saw
                began = bisect_right(starts[post.queue], post.ended)
                for take in queues[post.queue][began:]:
                    if take.sent >= first.sent:
                        break
                    if take.ended < first.sent and any(
                        one > message_id for one, _ in take.messages
                    ):
                        self._problem(f"{message_id} was overtaken in {post.queue}")


def _certainly_purged(post: Post, purge: Purge) -> bool:
    return purge.known and post.known and purge.queue == post.queue and post.ended < purge.sent
