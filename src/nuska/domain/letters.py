"""Letters: what a subscriber is sent about the subscription itself, and answers with.

A letter is a signed request, in Zaqar's words, and none of them names the subscriber: the next
one of the same subscription would be sent the very same. So a letter says by its end for whom it
is. The letters of a subscriber end later than all that went to those before; the two marks
that this takes are kept in the subscription, and no letter is made past them.
"""

from msgspec.structs import replace

from nuska.domain.moments import LAST_MOMENT, Duration, Moment, after, seconds
from nuska.domain.subscriptions import Subscription

STEP = seconds(1)
"""Ends are signed in whole seconds."""
_ROOM = seconds(100 * 365 * 86_400)
LAST_END = Moment(LAST_MOMENT - _ROOM)
"""Of a first subscriber's letters. Some room is left for those who come after, also where a
subscription lasts until the end of the calendar."""


def restarted(subscription: Subscription, ttl: Duration, now: Moment) -> Subscription:
    """With a ttl that begins now; its letters last as long."""
    ends = after(now, ttl)
    return replace(
        subscription,
        ttl=ttl,
        restarted_at=now,
        expires_at=ends,
        letters_until=max(_until(subscription), min(ends, LAST_END)),
    )


def moved(subscription: Subscription, subscriber: str) -> Subscription:
    """With another subscriber, who has to answer for himself: no letter from before is his."""
    until = _until(subscription)
    return replace(
        subscription,
        subscriber=subscriber,
        confirmed=False,
        letters_above=until,
        letters_until=after(until, STEP),
    )


def moved_back(subscription: Subscription, moved: Subscription) -> Subscription:
    """As before it moved; what the other may have been sent meanwhile is good for nothing."""
    above = moved.letters_until
    return replace(subscription, letters_above=above, letters_until=after(above, STEP))


def lasting(subscription: Subscription, until: Moment) -> Subscription:
    """With letters that may end as late as ``until``."""
    return replace(subscription, letters_until=max(_until(subscription), until))


def end_of_letter(subscription: Subscription, wanted: Moment) -> Moment:
    """When a letter to the present subscriber ends: at ``wanted``, as nearly as may be."""
    first = after(subscription.letters_above, STEP)
    return min(max(wanted, first), max(first, _until(subscription)))


def is_for(subscription: Subscription, ends: Moment) -> bool:
    """Whether a letter that ends so went to whoever is the subscriber now."""
    return ends > subscription.letters_above


def _until(subscription: Subscription) -> Moment:
    # Of one that was written before there were such marks, nothing is known but this.
    return max(subscription.letters_until, min(subscription.expires_at, LAST_END))
