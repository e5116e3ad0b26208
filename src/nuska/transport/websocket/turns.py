"""A request on a connection, from its message to its reply: what there is to know of one.

Carries nothing out; when it begins, and when its reply goes, is the session's to say.
"""

from collections.abc import Callable

from nuska.core.undoing import Undo
from nuska.interfaces.identity import Caller
from nuska.transport.websocket.actions.rows import Action, unknown
from nuska.transport.websocket.actions.table import ACTIONS
from nuska.transport.websocket.frames import Frame, Refused, Reply, bare, read
from nuska.transport.websocket.letterheads import Letterhead


class Turn:
    """One request, from its message to its reply."""

    __slots__ = (
        "action",
        "afterwards",
        "binary",
        "body",
        "caller",
        "frame",
        "ordered",
        "refusal",
        "reply",
        "size",
        "undo",
        "waits",
    )

    def __init__(self, binary: bool, size: int) -> None:
        """``size``: bytes of its message, or of the document that it is."""
        self.afterwards: Callable[[], None] | None = None
        """To be called when the reply is on its way."""
        self.binary = binary
        self.frame: Frame | None = None
        """None: it was no document."""
        self.action: Action | None = None
        self.body: dict[str, object] = {}
        self.caller: Caller | None = None
        """Who asks, once that has been made out."""
        self.refusal: Reply | None = None
        """What is answered without carrying anything out."""
        self.ordered = True
        self.waits = False
        self.reply: bytes | None = None
        self.size = size
        self.undo: Undo | None = None
        """Gives back what was taken for it, should its reply not go."""

    @property
    def joins(self) -> bool:
        return self.refusal is not None or (self.action is not None and self.action.joins)

    @property
    def settles_who(self) -> bool:
        """Who asks is another one after it."""
        return self.refusal is None and self.action is not None and self.action.settles_who


def unread(head: Letterhead | None, *, binary: bool, refusal: Reply) -> Turn:
    """For a message that is refused before its document is made; ``head``: None if it is no
    request."""
    turn = Turn(binary, 0)
    turn.refusal = refusal
    if head is not None:
        turn.frame = bare(head.action, head.request_id, binary=binary)
        turn.ordered = turn.frame.id is None
    return turn


def turn_of(data: bytes, *, binary: bool) -> Turn:
    """What a message asks for; if it is no request, its refusal."""
    turn = Turn(binary, len(data))
    try:
        turn.frame = frame = read(data, binary=binary)
        turn.size = frame.weight
        name = frame.document.get("action")
        action = ACTIONS.get(name) if isinstance(name, str) else None
        turn.ordered = frame.id is None or (action is not None and action.settles_who)
        if action is None:
            raise unknown(name)
        turn.action = action
        turn.body = action.check(frame)
        turn.waits = bool(turn.body.get("wait"))
    except Refused as refused:
        turn.refusal = refused.reply
    return turn
