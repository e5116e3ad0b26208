"""A page of messages, at a cost that does not depend on what it passes over.

The default listing reads the index of ready messages, which carries what it filters by. A
window bounds what is read on the event loop; only a listing that must pass over more than
that (a reader whose own messages, or expired ones, head the queue) goes to a thread, where
a million index entries take a fraction of a second.
"""

import apsw

from nuska.domain.messages import Page
from nuska.domain.moments import Moment
from nuska.domain.positions import Position
from nuska.stores.sqlite.connection import snapshot
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.reader import MarkedReader
from nuska.stores.sqlite.rows import MessageRow, message_of, message_rows

PAGE_READY = query("page_ready")
PAGE_DUE = query("page_due")
PAGE_ALL = query("page_all")
BEYOND_WINDOW = query("beyond_window")
IS_LARGE = query("is_large")
MANY_DUE = query("many_due")

Values = dict[str, int | bytes | None]

WINDOW = 400
"""Index entries a listing may pass over on the event loop."""
NO_WINDOW = -1


async def list_page(
    reader: MarkedReader,
    generation: int,
    *,
    after: Position,
    limit: int,
    hide: bytes | None,
    claimed: bool,
    delayed: bool,
    now: Moment,
) -> Page:
    """Available messages by position, and claimed or delayed ones when asked for."""
    values: Values = {
        "generation": generation,
        "after": after,
        "now": now,
        "hide": hide,
        "limit": limit,
    }
    if claimed or delayed:
        rows = await _by_position(reader, values, claimed=claimed, delayed=delayed)
    elif reader.read(lambda connection: _many_due(connection, values)):
        # Just now many claims or delays have ended at once, and the sweep is at it. Sorting
        # them all for a page would cost more than walking the queue from the marker.
        rows = await _by_position(reader, values, claimed=False, delayed=False)
    else:
        found = reader.read(lambda connection: _within_window(connection, values))
        if found is None:
            found = await reader.scan(
                lambda connection: _ready_and_due(connection, values, NO_WINDOW)
            )
        rows = found
    messages = [message_of(row, now) for row in rows]
    return Page(messages, messages[-1].position if messages else after)


async def _by_position(
    reader: MarkedReader, values: Values, *, claimed: bool, delayed: bool
) -> list[MessageRow]:
    """Walk the queue from the marker; in a thread when it is long."""
    values = {**values, "claimed": int(claimed), "delayed": int(delayed)}

    def work(connection: apsw.Connection) -> list[MessageRow]:
        return message_rows(connection.execute(PAGE_ALL, values))

    def large(connection: apsw.Connection) -> bool:
        return connection.execute(IS_LARGE, (values["generation"], WINDOW)).get is not None

    return await reader.scan(work) if reader.read(large) else reader.read(work)


def _many_due(connection: apsw.Connection, values: Values) -> bool:
    many = connection.execute(MANY_DUE, (values["generation"], values["now"], WINDOW)).get
    return many is not None


def _within_window(connection: apsw.Connection, values: Values) -> list[MessageRow] | None:
    """The page, or None when the window was too small to tell."""
    rows = _ready_and_due(connection, values, WINDOW)
    limit = values["limit"]
    assert isinstance(limit, int)
    if len(rows) < limit or limit > WINDOW:
        start = (values["generation"], values["after"], WINDOW)
        beyond = connection.execute(BEYOND_WINDOW, start).get
        if beyond is not None:
            return None
    return rows


def _ready_and_due(connection: apsw.Connection, values: Values, window: int) -> list[MessageRow]:
    """Both kinds of available messages, merged by position."""
    limit = values["limit"]
    assert isinstance(limit, int)
    with snapshot(connection):  # a message on its way from one kind to the other counts once
        ready = message_rows(connection.execute(PAGE_READY, {**values, "window": window}))
        due = message_rows(connection.execute(PAGE_DUE, values))
    if not due:
        return ready
    return sorted(ready + due)[:limit]
