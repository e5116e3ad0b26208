"""How many subscriptions a queue has: a pool whose queues have some is not removed.

They lie in the catalogue's store and would lose nothing; but who takes a pool away means one
that is not in use. Refuses to know more of subscriptions.
"""

import msgspec

from nuska.domain.internal import keys_below
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.notifications import SUBSCRIPTIONS
from nuska.interfaces.records import RecordStore
from nuska.stores.pooled.catalogue import PAGE

_decode = msgspec.json.Decoder(Subscription).decode


async def subscriptions_of(records: RecordStore, queue: QueueRef, now: Moment) -> int:
    """Those that have not expired."""
    count = 0
    after, end = keys_below(queue.project, queue.name)
    while page := await records.page(SUBSCRIPTIONS, after=after, before=end, limit=PAGE):
        count += sum(_decode(record.value).expires_at > now for record in page)
        after = page[-1].key
    return count
