"""One queue that somebody has subscribed to: reads its announcement log, and hands out.

Most subscriptions are *in step*: what is read next is for all of them. One that has no room for
more falls behind and reads on by itself when it has, until it is in step again; so whoever is slow
holds up nobody, and costs nothing but a cursor while he stands still.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from nuska.core.dead_letters import Letter, letter_of
from nuska.core.deliveries import Attempt
from nuska.core.subscription_records import Followed, Seen
from nuska.delivery.cursors import Cursors
from nuska.delivery.journal import DueRow, Journal
from nuska.delivery.leased import LateDelivery
from nuska.delivery.node import MOST_WAITING, Node
from nuska.delivery.pages import LogPages, Page, after_in
from nuska.delivery.recipients import Post, Recipient
from nuska.delivery.retrying import Retries, rows_until_due
from nuska.delivery.telling import Telling
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.domain.subscriptions import SubscriptionId

PAGES_PER_TURN = 4
RECIPIENTS_PER_TURN = 200
"""Of those who are behind."""
HANDED_OUT_AT_ONCE = 500
"""Recipients; then others get a turn of the loop."""
MILESTONE = 1_000
"""Messages."""
MILESTONES = 10
"""So many thousand messages are kept for a replay, at most."""


class Follower:
    """Follows one queue in one process."""

    def __init__(self, queue: QueueRef, node: Node) -> None:
        self.queue = queue
        self.node = node
        self.log = LogPages(queue, node.logs, node.clock, node.budget)
        self.journal = Journal(
            queue, node.store, node.clock, node.random_bytes, node.bounds, node.held, node.announce
        )
        self.cursors = Cursors(queue, node.records)
        self.telling = Telling(self)
        self.retries = Retries(self, node.store, node.clock, node.random_bytes, node.held)
        self.recipients: dict[SubscriptionId, Recipient] = {}
        self.head = BEFORE_ALL
        """How far the log has been read for those in step."""
        self.cleared = BEFORE_ALL
        self.changed = True
        """Subscriptions are to be read again."""
        self.ended = False
        self.leaving = False
        """Another process is going to be in charge."""
        self.idle = asyncio.Event()
        """Set while nothing is under way."""
        self.idle.set()
        self._under_way = 0
        self.paused_until = 0.0
        """Of the loop's time: a moment after its last turn."""
        self.touched = False
        """There may be something to write."""
        self.held_up = False
        """Something did not begin because too much is unwritten."""
        self.steady = asyncio.Lock()
        """Held while what is known and what is handed out do not agree."""
        self.writing = asyncio.Lock()
        """Held while records are read or written."""
        self.loaded_version: str | None = None
        """Of the queue's record, when everything was read last."""
        self.trimmed_at = Moment(0)
        self.trimmed_through = BEFORE_ALL
        self.milestones: deque[Position] = deque(maxlen=MILESTONES)
        self._in_step: dict[SubscriptionId, Recipient] = {}
        self._eager: dict[Recipient, None] = {}
        """Behind, with room for more."""
        self._ahead: dict[Recipient, None] = {}
        """They begin where the queue has not been read yet."""
        self._resting: dict[Recipient, None] = {}
        """Their first message is tried again at some moment."""
        self._since_milestone = 0

    def see(self, followed: Seen[Followed]) -> None:
        """What the queue's record says now; what it says anew is to be read."""
        if self.loaded_version not in (None, followed.version):
            self.changed = True

    @property
    def oldest(self) -> Moment | None:
        """When the oldest message was posted that waits here for somebody."""
        return min(
            (r.posts[0].created_at for r in self.recipients.values() if r.posts), default=None
        )

    def note(self, attempt: Attempt) -> None:
        """Have an attempt recorded that was made elsewhere."""
        self.journal.attempt(attempt)
        self.touched = True

    # Recipients

    def place(self, recipient: Recipient) -> None:
        """Somebody is told from his ``read`` on."""
        self.recipients[recipient.id] = recipient
        assert recipient.read is not None, "nobody starts in step"
        if recipient.failures or recipient.breaker.is_open:
            self.rest(recipient)
        if recipient.read == self.head:
            self._join(recipient)
        elif recipient.read > self.head:
            self._ahead[recipient] = None
        else:
            self._eager[recipient] = None

    def remove(self, recipient: Recipient) -> None:
        recipient.leave()
        if self.recipients.get(recipient.id) is recipient:
            del self.recipients[recipient.id]
        if self._in_step.get(recipient.id) is recipient:
            del self._in_step[recipient.id]
        for group in (self._eager, self._ahead, self._resting):
            group.pop(recipient, None)

    def end(self) -> None:
        """Nothing is begun here any more, and what is under way counts no more."""
        self.ended = True
        for recipient in list(self.recipients.values()):
            self.remove(recipient)
        self.retries.forget()
        self.journal.forget()
        self.log.forget()

    def _join(self, recipient: Recipient) -> None:
        recipient.read = None
        self._in_step[recipient.id] = recipient

    # Reading and handing out

    async def turn(self) -> bool:
        """Do what there is to do now; whether there may be more."""
        self._wake_resting()
        more = await self._read_on()
        more |= await self._catch_up()
        more |= await self.retries.take_due()
        if self.is_open():  # else whoever makes room wakes
            self.node.wake_at(self, self.retries.due_at)
        self.node.dispatch.pump()
        return more

    async def _read_on(self) -> bool:
        for _ in range(PAGES_PER_TURN):
            if not (self._in_step or self._ahead) or not self.is_open():
                return False
            page = await self.log.after(self.head)
            if page is None:
                return False
            async with self.steady:
                if self.ended:
                    return False
                await self._hand_out(page)
        return True

    async def _hand_out(self, page: Page) -> None:
        late: dict[Position, list[SubscriptionId]] = {}
        behind: list[Recipient] = []
        for number, recipient in enumerate(list(self._in_step.values()), 1):
            if self._give(recipient, page, self.head, page.through, late) < page.through:
                behind.append(recipient)
            if number % HANDED_OUT_AT_ONCE == 0:
                self.node.dispatch.pump()
                await asyncio.sleep(0)
        for recipient in behind:
            self._in_step.pop(recipient.id, None)
        self._note_late(page, late)
        self._since_milestone += sum(position > self.head for position in page.messages)
        self.head = page.through
        self.touched = True
        if self._since_milestone >= MILESTONE:
            self._since_milestone = 0
            self.milestones.append(self.head)
        for recipient in [r for r in self._ahead if r.read is not None and r.read <= self.head]:
            del self._ahead[recipient]
            self._eager[recipient] = None

    def _give(
        self,
        recipient: Recipient,
        page: Page,
        start: Position,
        end: Position,
        late: dict[Position, list[SubscriptionId]],
    ) -> Position:
        """Hand a recipient what the page has for him after ``start`` and up to ``end``; how far
        he got. What is not due yet is noted in ``late`` instead."""
        groups = after_in(page.matching(recipient.filter, recipient.wants), start)
        not_due = page.not_due(self.node.clock.now())
        if not_due or end < page.through:
            groups = [
                (moment, chosen)
                for moment, positions in groups
                if (chosen := tuple(p for p in positions if p <= end and p not in not_due))
            ]
        took_all = recipient.take(groups)
        reached = end if took_all or recipient.read is None else recipient.read
        if not_due:
            for position in page.positions_for(recipient.filter) & not_due:
                if start < position <= reached:
                    late.setdefault(position, []).append(recipient.id)
        if recipient.has_more():
            self.node.dispatch.offer(recipient)
        return reached

    def _note_late(self, page: Page, late: dict[Position, list[SubscriptionId]]) -> None:
        now = self.node.clock.now()
        for position, ids in late.items():
            for row in rows_until_due(letter_of(page.messages[position]), ids, now):
                self.write_row(row)

    async def _catch_up(self) -> bool:
        """Let some of those who are behind read on; whether there is more to do: for those in
        step, too, if somebody has joined them."""
        joined = False
        for recipient in list(self._eager)[:RECIPIENTS_PER_TURN]:
            if not self.is_open():  # whoever makes room wakes
                return joined
            del self._eager[recipient]
            if recipient.gone or recipient.read is None:
                continue
            if recipient.read < self.head and recipient.room:
                page = await self.log.after(recipient.read)
                async with self.steady:
                    if not recipient.gone:
                        self._let_catch_up(recipient, page)
            joined |= not recipient.gone and recipient.read is None
        return joined or bool(self._eager)

    def _let_catch_up(self, recipient: Recipient, page: Page | None) -> None:
        start = recipient.read
        if start is None:
            return
        end = self.head if page is None else min(page.through, self.head)
        if page is not None and start < end:
            late: dict[Position, list[SubscriptionId]] = {}
            recipient.read = end
            reached = self._give(recipient, page, start, end, late)
            recipient.read = reached
            self._note_late(page, late)
        else:
            recipient.read = max(start, end)
        self.touched = True
        if recipient.read == self.head:
            self._join(recipient)
            self.node.wake(self)  # there may be more, which nobody in step has had read
        elif recipient.room:
            self._eager[recipient] = None

    # Deliveries

    @property
    def is_crowded(self) -> bool:
        return self.node.waiting >= MOST_WAITING

    def waiting(self, change: int) -> None:
        self.node.waiting += change

    def is_open(self) -> bool:
        if self.ended or self.leaving or self.node.stopping:
            return False
        if self.journal.is_full:
            self.held_up = True
            return False
        return True

    def may_begin(self, recipient: Recipient) -> bool:
        subscription, now = recipient.subscription, self.node.clock.now()
        return (
            self.is_open()
            and subscription.disabled is None
            and subscription.expires_at > now
            and recipient.may_go_on(now)
        )

    def deliver(
        self, recipient: Recipient, post: Post, *, probe: bool
    ) -> Coroutine[Any, Any, None]:
        """Deliver the message of the post whose turn it is."""
        return self._counted(lambda: self.telling.deliver(recipient, post, probe=probe))

    def deliver_late(self, late: LateDelivery, *, probe: bool) -> Coroutine[Any, Any, None]:
        return self._counted(lambda: self.telling.deliver_late(late, probe=probe))

    async def _counted(self, delivery: Callable[[], Awaitable[None]]) -> None:
        self._under_way += 1
        self.idle.clear()
        try:
            await delivery()
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.idle.set()

    def let_read_on(self, recipient: Recipient) -> None:
        """He has dealt with something: if he is behind, there may be room for more."""
        if recipient.read is not None and recipient.has_much_room:
            self._eager[recipient] = None
            self.node.wake(self)

    def rest(self, recipient: Recipient) -> None:
        """He is told nothing before the moment that he says."""
        self._resting[recipient] = None
        self.node.wake_at(self, recipient.rests_until)

    def _wake_resting(self) -> None:
        now = self.node.clock.now()
        for recipient in list(self._resting):
            if recipient.rests_until > now:
                self.node.wake_at(self, recipient.rests_until)
                continue
            del self._resting[recipient]
            if recipient.has_more():
                self.node.dispatch.offer(recipient)

    def offer_all(self) -> None:
        """Whatever waits may begin, if it can: it was held up."""
        for recipient in self.recipients.values():
            if recipient.has_more():
                self.node.dispatch.offer(recipient)
        self.retries.go_on()

    # What late deliveries need

    def offer_late(self, late: LateDelivery) -> None:
        self.node.dispatch.offer(late)

    def withdraw_late(self, late: LateDelivery) -> None:
        self.node.dispatch.withdraw(late)

    def write_row(self, due: DueRow) -> None:
        self.journal.row(due)
        self.touched = True

    def finish_row(self, row_id: str) -> None:
        self.journal.finish(row_id)
        self.touched = True

    def is_cleared(self, letter: Letter) -> bool:
        return letter.position <= self.cleared

    def may_be_told(self, recipient: Recipient) -> bool:
        return self.node.may_be_told(recipient.subscription)

    def miss(self, recipients: int) -> None:
        self.node.counters.missed += recipients
