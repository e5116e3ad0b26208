"""The audit log: changes and refusals, one JSON line each, apart from every other log.

A line has who (project, user, or the id of a key or grant), what, from where and the outcome;
never a header, a body or a query, where credentials are. A file is made for its owner alone, only
appended to, and opened anew when somebody has moved it away.
"""

import logging
import sys
from logging.handlers import WatchedFileHandler
from pathlib import Path

import msgspec

from nuska.domain.moments import iso
from nuska.interfaces.audit import MESSAGES, Audit, Deed
from nuska.interfaces.clock import Clock

STDERR = "stderr"
_ONLY_OWNER = 0o600

_encode = msgspec.json.Encoder().encode


class CannotAudit(Exception):
    """The log cannot be written; the argument is a sentence."""


def audit_to(place: str, clock: Clock, *, messages: bool) -> Audit | None:
    """Write to a file or standard error; None for no place. ``messages``: also what happens to
    messages all the time. Raises ``CannotAudit``."""
    if not place:
        return None
    handler = _handler(place)

    def note(deed: Deed) -> None:
        if not deed.refused and not (deed.changes and (messages or deed.action not in MESSAGES)):
            return
        line = _encode({"time": iso(clock.now()), **_told(deed)}).decode()
        handler.handle(logging.LogRecord("nuska.audit", logging.INFO, "", 0, line, None, None))

    return note


def _handler(place: str) -> logging.Handler:
    if place == STDERR:
        return logging.StreamHandler(sys.stderr)
    path = Path(place)
    try:
        path.touch(mode=_ONLY_OWNER)
        return WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "it is no file"
        raise CannotAudit(f"audit_log: {place} cannot be written: {reason}.") from None


def _told(deed: Deed) -> dict[str, object]:
    told: dict[str, object] = {
        "outcome": deed.outcome,
        "status": deed.status,
        "action": deed.action,
        "method": deed.method,
        "target": deed.target,
        "from": deed.source,
        "request_id": deed.request_id,
    }
    caller = deed.caller
    if caller is not None:
        told |= {"project": caller.project, "user": caller.user, "roles": sorted(caller.roles)}
        if caller.grant is not None and caller.grant.id:
            told["credential"] = caller.grant.id
    return told
