"""Server-sent events: the lines of a ``text/event-stream``, as the HTML standard has them.

An ``id`` is a marker; a block without ``data`` moves a client's marker on and shows nothing.
"""

from nuska.core.live import Announced, Gap
from nuska.domain.internal import is_topic
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment, age_in_seconds
from nuska.transport.wire import json

CONTENT_TYPE = "text/event-stream"
HEARTBEAT = b":\n\n"
"""A comment, which nobody is shown."""
_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
"""Line breaks stand only between the words of a JSON text, never inside of one."""


def encode_announced(item: Announced, now: Moment, *, attributes: bool) -> bytes:
    """A message as an event of the type ``message``."""
    message = item.message
    head = (
        f'id: {item.marker}\ndata: {{"id": "{message.id}", '
        f'"{_word(item.queue)}": "{item.queue.name}", '
        f'"ttl": {message.ttl // 1000}, "age": {age_in_seconds(message.created_at, now)}, "body": '
    )
    tail = b"}\n\n"
    if attributes and message.attributes is not None:
        tail = b', "attributes": ' + message.attributes.translate(_ON_ONE_LINE) + tail
    return b"".join((head.encode(), message.body.translate(_ON_ONE_LINE), tail))


def encode_gap(gap: Gap) -> bytes:
    word = _word(gap.queue)
    said = {word: gap.queue.name, "after": str(gap.after), "marker": str(gap.marker)}
    return b"event: gap\nid: %b\ndata: %b\n\n" % (str(gap.marker).encode(), json.encode(said))


def encode_notice(reason: str, sentence: str) -> bytes:
    """Something about the stream itself, such as why it ends."""
    said = json.encode({"reason": reason, "description": sentence})
    return b"event: notice\ndata: %b\n\n" % said


def encode_marker(marker: str) -> bytes:
    """What was told up to now ends here."""
    return f"id: {marker}\n\n".encode()


def encode_retry(milliseconds: int) -> bytes:
    """How long a client waits before it comes back when the connection ends."""
    return b"retry: %d\n\n" % milliseconds


def _word(queue: QueueRef) -> str:
    return "topic" if is_topic(queue) else "queue"
