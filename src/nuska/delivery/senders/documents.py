"""What a webhook is sent about a message, as bytes; the same for all that are sent the same.

A message that a hundred subscribers are told of is put into words once. Headers that belong to
the words come with them. Nothing is sent here.
"""

from collections import OrderedDict
from collections.abc import Mapping

from nuska.domain.internal import origin
from nuska.domain.messages import Message
from nuska.domain.templates import event_attributes, filled, payload, structured_event
from nuska.domain.webhooks import WebhookOptions
from nuska.interfaces.notifications import Notification

DOCUMENTS_KEPT = 256
LARGEST_KEPT = 16_384
"""Bytes; of what is larger, writing it again is the least cost."""
_NONE: Mapping[str, str] = {}


class Documents:
    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Message, str, bytes]] = OrderedDict()

    def written(
        self, notification: Notification, webhook: WebhookOptions
    ) -> tuple[bytes, Mapping[str, str]]:
        """The body, and headers that say more of it. ``InvalidInput`` when it is too large."""
        message, name = notification.message, notification.name
        if webhook.format == "cloudevents":
            return structured_event(message, name, _kind(notification)).encode(), _NONE
        if webhook.format == "cloudevents-binary":
            return message.body, _about(message, name, _kind(notification))
        if webhook.data is None:
            return self._document(message, name), _NONE
        return filled(webhook.data, payload(message, name)).encode(), _NONE

    def _document(self, message: Message, name: str) -> bytes:
        """What is sent of a message where nothing else is asked for."""
        kept = self._kept.get(message.id)
        if kept is not None and kept[0] is message and kept[1] == name:
            return kept[2]
        document = payload(message, name).encode()
        if len(document) <= LARGEST_KEPT:
            self._kept[message.id] = message, name, document
            if len(self._kept) > DOCUMENTS_KEPT:
                self._kept.popitem(last=False)
        return document


def _about(message: Message, name: str, kind: str) -> dict[str, str]:
    """The context of a CloudEvent; but its content's type is that of the request."""
    context = event_attributes(message, name, kind)
    return {f"ce-{key}": value for key, value in context.items() if key != "datacontenttype"}


def _kind(notification: Notification) -> str:
    queue = notification.subscription.queue
    return "queues" if origin(queue, "topics") is None else "topics"
