"""What came of an attempt, in the words of the attempt log, and what follows from an answer.

Pure: no clock, no connection. No word here repeats what a subscriber's URL, headers or answer
say, for secrets may stand in all of them.
"""

from email.utils import parsedate_to_datetime

from nuska.domain.moments import Duration, Moment, seconds
from nuska.interfaces.notifications import MAX_ERROR, Outcome

MAX_RETRY_AFTER: Duration = seconds(3600)
"""A subscriber who asks for more patience is tried after this."""
GONE = 410
WORTH_ANOTHER_TRY = frozenset({408, 425, 429})
"""Of the answers that blame the request: these blame the moment. Every 5xx does, too."""


def refused(reason: str) -> Outcome:
    """Nothing was sent, and trying again would not change that."""
    return Outcome(ok=False, latency=Duration(0), error=reason[:MAX_ERROR], permanent=True)


def failed(
    reason: str, latency: Duration, *, status: int | None = None, wait: Duration | None = None
) -> Outcome:
    """It did not work this time."""
    return Outcome(
        ok=False, latency=latency, status=status, error=reason[:MAX_ERROR], retry_after=wait
    )


def answered(status: int, retry_after: str | None, latency: Duration, now: Moment) -> Outcome:
    """What an HTTP answer means. Success is 2xx alone; Zaqar took everything below 400 for it,
    but a redirect that is not followed has told nobody anything."""
    if 200 <= status < 300:
        return Outcome(ok=True, latency=latency, status=status)
    if status == GONE:
        return Outcome(
            ok=False,
            latency=latency,
            status=status,
            error="The subscriber answered 410 Gone: it wants no more notifications.",
            permanent=True,
            gone=True,
        )
    if status >= 500 or status in WORTH_ANOTHER_TRY:
        wait = None if retry_after is None else parse_retry_after(retry_after, now)
        return failed(f"The subscriber answered {status}.", latency, status=status, wait=wait)
    error = f"The subscriber answered {status}, which trying again would not change."
    if 300 <= status < 400:
        error = f"The subscriber answered {status}: redirects are not followed."
    return Outcome(ok=False, latency=latency, status=status, error=error, permanent=True)


def parse_retry_after(value: str, now: Moment) -> Duration | None:
    """The wait that ``Retry-After`` asks for, in seconds or by a date; None when it is neither."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        # More digits than the longest wait has cannot mean less than it.
        asked = seconds(int(text)) if len(text) < 10 else MAX_RETRY_AFTER
    else:
        try:
            then = parsedate_to_datetime(text).timestamp()
        except (ValueError, OverflowError):
            return None
        asked = Duration(max(0, int(then * 1000) - now))
    return min(asked, MAX_RETRY_AFTER)
