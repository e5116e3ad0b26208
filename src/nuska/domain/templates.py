"""What a subscriber is sent for one message (contract notifications §2), and templates around it.

Texts only: which headers go with them and how they travel is the senders' business.
"""

import re

from nuska.domain.errors import InvalidInput
from nuska.domain.messages import Message
from nuska.domain.moments import iso, whole_seconds

PLACEHOLDER = '"$zaqar_message$"'
"""With its quotes: without them it is text like any other."""
MAX_FILLED = 2_097_152
"""Characters that a template and a message may come to."""
TOO_LARGE = "The template and this message together are too large to be sent."
SPEC_VERSION = "1.0"
"""Of CloudEvents."""
EVENT_TYPE = "nuska.message"

_beyond_ascii = re.compile("[^\x00-\x7f]")


def ascii_json(text: bytes) -> str:
    """JSON as ASCII: beyond it JSON has characters in texts only, where they can be escaped."""
    return text.decode("ascii") if text.isascii() else _beyond_ascii.sub(_escape, text.decode())


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x1_0000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x1_0000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def payload(message: Message, name: str) -> str:
    """The JSON document about ``message`` of the queue or topic ``name``, in ASCII.

    Zaqar's five keys, and two that it has not: the message's id, the same at every attempt, by
    which a receiver knows what it has already had, and its attributes, if it has any.
    """
    waited = message.available_at - message.created_at
    delay = f'"delay": {whole_seconds(waited)}, ' if waited > 0 else ""
    more = f', "attributes": {ascii_json(message.attributes)}' if message.attributes else ""
    return (
        f'{{"ttl": {whole_seconds(message.ttl)}, "body": {ascii_json(message.body)}, {delay}'
        f'"Message_Type": "Notification", "queue_name": "{name}", '
        f'"message_id": "{message.id}"{more}}}'
    )


def filled(template: str, document: str) -> str:
    """``template`` with the document in place of every quoted placeholder.

    ``InvalidInput`` when more than ``MAX_FILLED`` characters come of it: a few placeholders
    would make hundreds of megabytes of a large message, for every attempt.
    """
    if len(template) + template.count(PLACEHOLDER) * len(document) > MAX_FILLED:
        raise InvalidInput(TOO_LARGE)
    return template.replace(PLACEHOLDER, document)


def event_attributes(message: Message, name: str, kind: str = "queues") -> dict[str, str]:
    """The context of a CloudEvent about ``message``; ``kind`` is ``queues`` or ``topics``."""
    return {
        "specversion": SPEC_VERSION,
        "id": message.id,
        "source": f"/v2/{kind}/{name}",
        "type": EVENT_TYPE,
        "time": iso(message.created_at),
        "datacontenttype": "application/json",
    }


def structured_event(message: Message, name: str, kind: str = "queues") -> str:
    """A CloudEvent as one JSON document, in ASCII."""
    # No value can need escaping: names and ids have letters, digits and a few signs.
    context = ", ".join(
        f'"{key}": "{value}"' for key, value in event_attributes(message, name, kind).items()
    )
    return f'{{{context}, "data": {ascii_json(message.body)}}}'
