"""Whether an endpoint, or one subscriber, is worth trying: opens after failures in a row, and
tries again by itself. Who answers with an error is there: that is the subscriber's own trouble,
and none of its neighbours' at the same host.

While it is open no message is begun that has not been tried yet. What failed before follows its
own schedule and shows when the endpoint is well again; where there is nothing of that kind, one
new message is tried after a pause, which doubles every time that it fails.
"""

from nuska.domain.moments import Duration, Moment, after, seconds

FAILURES = 5
"""In a row, without a success between them."""
FIRST_PAUSE = seconds(30)
LONGEST_PAUSE = seconds(600)


class Breaker:
    __slots__ = ("error", "failures", "next_at", "pause", "probing", "since")

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""
        self.error = ""
        self.since = Moment(0)
        """It is open since then."""
        self.pause = FIRST_PAUSE
        self.next_at = Moment(0)
        """Not before this is a new message tried."""
        self.probing = False
        """A new message is being tried."""

    @property
    def is_open(self) -> bool:
        return self.failures >= FAILURES

    def may_begin(self, now: Moment) -> bool:
        """Whether a message may be begun that has not been tried yet."""
        return not self.is_open or (now >= self.next_at and not self.probing)

    def resume(
        self, error: str, failures: int, *, since: Moment, pause: Duration, next_at: Moment
    ) -> None:
        """Open as it was when that was written, unless it knows better by itself."""
        if self.failures == 0 and failures >= FAILURES:
            self.error, self.failures = error, failures
            self.since, self.next_at = since, next_at
            self.pause = Duration(min(max(pause, FIRST_PAUSE), LONGEST_PAUSE))

    def succeeded(self) -> bool:
        """Whether this closed it."""
        was_open = self.is_open
        self.failures = 0
        self.pause = FIRST_PAUSE
        self.probing = False
        return was_open

    def failed(self, error: str, now: Moment, *, probe: bool) -> bool:
        """Whether this opened it. ``probe``: it was a new message, tried while it was open."""
        was_open = self.is_open
        self.failures += 1
        self.error = error
        if probe:
            self.probing = False
            self.pause = Duration(min(2 * self.pause, LONGEST_PAUSE))
        opened = self.is_open and not was_open
        if opened:
            self.since = now
        if opened or (probe and self.is_open):
            # A retry that fails meanwhile does not put the next probe off: retries come often.
            self.next_at = after(now, self.pause)
        return opened
