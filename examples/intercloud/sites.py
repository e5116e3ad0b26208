"""Two sites, each with a server of its own; one forwards its orders to the other.

West signs a link that may post to one queue, and nothing else. East subscribes it to its own
queue: the link is a web address like any other, and East needs no account at West.
"""

import json
from datetime import UTC, datetime, timedelta

from nuska.client import Client

PROJECT = "shop"
ORDERS, INCOMING = "orders", "orders-from-east"
GOOD_FOR = timedelta(days=30)
"""How long the link is; sign a new one in time, and update the subscription."""
LIVES = 86_400
"""Seconds an order lives at West."""

AS_A_POST = json.dumps({"messages": [{"ttl": LIVES, "body": "$zaqar_message$"}]})
"""What is sent: a post of one message, whose body is the notification with the order in it."""
TRY_AGAIN = {
    "retries_with_no_delay": 0,
    "minimum_delay_retries": 10,
    "minimum_delay": 3,
    "maximum_delay": 300,
    "maximum_delay_retries": 20,
    "retry_backoff_function": "linear",
}
"""Every three seconds at first, later every five minutes, for more than an hour and a half."""


async def sign(west: Client) -> str:
    """The link, without scheme and host."""
    _, url = await west.queue(INCOMING).signed_urls.create(
        methods=["POST"],
        expires=datetime.now(UTC) + GOOD_FOR,
        max_batch=1,
        note="orders forwarded by East",
    )
    return url.links[0]


async def forward(east: Client, link: str) -> str:
    """Have East forward what is posted from now on; the subscription's id."""
    return await east.queue(ORDERS).subscriptions.create(
        link,
        ttl=int(GOOD_FOR.total_seconds()),
        options={
            "post_data": AS_A_POST,
            "post_headers": {"Content-Type": "application/json"},
            "_retry_policy": TRY_AGAIN,
            "ordered": True,
        },
    )


async def take(west: Client, count: int) -> list[object]:
    """The next orders that have come from East, each once.

    What is forwarded is sent at least once: an answer may be lost on the way. The id of the
    message at East tells those that came twice.
    """
    seen: set[str] = set()
    orders = []
    while len(orders) < count:
        async with west.queue(INCOMING).claim(limit=10, wait=10) as claim:
            for message in claim:
                if message.body["message_id"] not in seen:
                    seen.add(message.body["message_id"])
                    orders.append(message.body["body"])
                await message.delete()
    return orders
