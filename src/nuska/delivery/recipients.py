"""One subscription as those see it who carry out its deliveries: how far it is, what waits.

Small, because there may be ten thousand of them: posts that wait are positions, shared with all
others that wait for them. Messages of one post go out one after another; different posts may be
under way together, unless the subscription asks for the order of the queue.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

from msgspec.structs import replace

from nuska.core.subscription_records import Cursor, Seen
from nuska.delivery.breaker import Breaker
from nuska.delivery.endpoints import Endpoint
from nuska.delivery.pages import Group, Matches
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.domain.subscriptions import Disabled, Subscription, SubscriptionId

WINDOW = 64
"""Messages that wait or are under way for one subscription, at most."""
UNPROVEN_WINDOW = 4
"""For one whose endpoint has not answered well lately."""
ORDERED = "ordered"
"""The option that asks for the order of the queue."""


class Post:
    """Messages of one post that have yet to be delivered to one subscription."""

    __slots__ = ("at", "created_at", "in_flight", "positions")

    def __init__(self, created_at: Moment, positions: tuple[Position, ...]) -> None:
        self.created_at = created_at
        self.positions = positions
        self.at = 0
        self.in_flight = False

    @property
    def position(self) -> Position:
        """Of the message whose turn it is."""
        return self.positions[self.at]


class Follows(Protocol):
    """What carries a recipient's deliveries out."""

    queue: QueueRef

    def may_begin(self, recipient: "Recipient") -> bool: ...

    @property
    def is_crowded(self) -> bool:
        """So much waits in this process that everybody gets less room."""
        ...

    def waiting(self, change: int) -> None:
        """So many messages more wait, or less."""
        ...

    def deliver(
        self, recipient: "Recipient", post: Post, *, probe: bool
    ) -> Coroutine[Any, Any, None]: ...


class Recipient:
    """A subscription, and where its deliveries stand."""

    __slots__ = (
        "_follows",
        "breaker",
        "cursor_version",
        "cursor_written",
        "done_before",
        "endpoint",
        "failures",
        "filter",
        "gone",
        "next_at",
        "ordered",
        "posts",
        "queued",
        "read",
        "round",
        "round_until",
        "seen",
        "troubled",
        "waiting",
        "wants",
    )

    def __init__(
        self, seen: Seen[Subscription], follows: Follows, endpoint: Endpoint, read: Position
    ) -> None:
        self.seen = seen
        self._follows = follows
        self.endpoint = endpoint
        self.queued = False
        self.gone = False
        """Removed, or started anew: what is still under way for it counts no more."""
        self.wants: Matches | None = None
        self.filter = ""
        """Names the filter, the same for all that filter alike."""
        self.ordered = seen.value.options.get(ORDERED) is True
        self.read: Position | None = read
        """Everything up to here waits, is under way or done. None: as far as the queue's own."""
        self.posts: list[Post] = []
        self.waiting = 0
        """Messages of ``posts``."""
        self.failures = 0
        """Of the first message, where order is kept."""
        self.next_at = Moment(0)
        """When the first message is tried again, where order is kept."""
        self.cursor_version: str | None = None
        """Of a cursor of its own; None when it has none."""
        self.cursor_written: Cursor | None = None
        self.round = 0
        self.round_until = BEFORE_ALL
        """As its cursor says."""
        self.done_before: Position | None = None
        """What ``done`` was at the last flush."""
        self.breaker = Breaker()
        """Of answers that say no; a host that does not answer is the endpoint's matter."""
        self.troubled = False
        """There is a record of its trouble."""

    @property
    def id(self) -> SubscriptionId:
        return self.seen.value.id

    @property
    def subscription(self) -> Subscription:
        return self.seen.value

    def done(self, head: Position) -> Position:
        """Up to where everything is done; ``head``: how far the queue has been read."""
        if self.posts:
            return Position(self.posts[0].position - 1)
        return head if self.read is None else self.read

    def round_of(self, position: Position) -> int:
        """Which telling again a message is of; 0 when it is told for the first time."""
        return self.round if position <= self.round_until else 0

    @property
    def is_retry(self) -> bool:
        return self.failures > 0

    def may_go_on(self, now: Moment) -> bool:
        """Whether its next message may be begun; one that failed follows its own schedule."""
        return self.next_at <= now and (self.failures > 0 or self.breaker.may_begin(now))

    @property
    def rests_until(self) -> Moment:
        """Nothing is begun before."""
        if self.failures > 0 or not self.breaker.is_open:
            return self.next_at
        return max(self.next_at, self.breaker.next_at)

    @property
    def room(self) -> int:
        return max(0, self._window - self.waiting)

    @property
    def has_much_room(self) -> bool:
        return 2 * self.waiting <= self._window

    @property
    def _window(self) -> int:
        wide = self.endpoint.proven and not self._follows.is_crowded
        return WINDOW if wide else UNPROVEN_WINDOW

    def take(self, groups: list[Group]) -> bool:
        """Have the messages wait here, as far as there is room; whether all do. If not, it has
        its own ``read`` from now on."""
        room = self.room
        for created_at, positions in groups:
            if len(positions) > room:
                if room:
                    self._append(created_at, positions[:room])
                    self.read = positions[room - 1]
                else:
                    self.read = Position(positions[0] - 1)
                return False
            self._append(created_at, positions)
            room -= len(positions)
        return True

    def _append(self, created_at: Moment, positions: tuple[Position, ...]) -> None:
        last = self.posts[-1] if self.posts else None
        if last is not None and last.created_at == created_at:
            last.positions = (*last.positions[last.at :], *positions)
            last.at = 0
        else:
            self.posts.append(Post(created_at, positions))
        self.waiting += len(positions)
        self._follows.waiting(len(positions))

    def next_post(self) -> Post | None:
        """The first whose turn it is."""
        if not self.posts or not self._follows.may_begin(self):
            return None
        if self.ordered:
            first = self.posts[0]
            return None if first.in_flight else first
        return next((post for post in self.posts if not post.in_flight), None)

    def has_more(self) -> bool:
        return self.next_post() is not None

    def begin(self, *, probe: bool) -> Coroutine[Any, Any, None] | None:
        post = self.next_post()
        if post is None:
            return None
        post.in_flight = True
        self.breaker.probing = self.breaker.is_open
        return self._follows.deliver(self, post, probe=probe)

    def done_with(self, post: Post) -> None:
        """The message whose turn it was needs nothing more here."""
        post.in_flight = False
        post.at += 1
        self.waiting -= 1
        self._follows.waiting(-1)
        if post.at == len(post.positions):
            self.posts.remove(post)
        self.failures = 0
        self.next_at = Moment(0)

    def disable(self, reason: str, now: Moment) -> None:
        """As the subscription's record will say it."""
        disabled = replace(self.seen.value, disabled=Disabled(reason, now))
        self.seen = Seen(disabled, self.seen.version)

    def forget(self) -> None:
        """What waits is not for whoever is the subscriber now."""
        for post in self.posts:
            keep = post.at + post.in_flight
            gone = len(post.positions) - keep
            self.waiting -= gone
            self._follows.waiting(-gone)
            post.positions = post.positions[:keep]
        self.posts = [post for post in self.posts if post.in_flight]

    def leave(self) -> None:
        """What waits is forgotten, and what is under way counts no more."""
        self.gone = True
        self._follows.waiting(-self.waiting)
        self.posts = []
        self.waiting = 0
