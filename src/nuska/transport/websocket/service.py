"""Carrying requests out: who asks, may he, and what the core says; every failure is a reply."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus

import structlog

from nuska.core import Core
from nuska.core.access import allow
from nuska.core.undoing import given_back
from nuska.domain.errors import NuskaError, RateExceeded, Unavailable
from nuska.domain.internal import topic
from nuska.domain.limits import MAX_QUEUE_NAME
from nuska.domain.messages import QueueRef
from nuska.interfaces.audit import Audit, Deed
from nuska.interfaces.identity import Caller, Identity
from nuska.transport.websocket.actions.rows import QUEUES, TOPIC, Action
from nuska.transport.websocket.call import Call
from nuska.transport.websocket.frames import (
    BUG,
    Refused,
    Reply,
    encode_binary,
    encode_text,
    failure,
)
from nuska.transport.websocket.session import Outlet, Session
from nuska.transport.websocket.standing import Standing
from nuska.transport.websocket.turns import Turn
from nuska.transport.wire.callers import check_queue

METHOD = "WS"
"""In metrics, where HTTP has its method; the route is the name of the action."""
UNKNOWN = "unmatched"
NAME_BYTES = 8
"""Of the random name of a connection."""
MAX_QUEUES = 100
READS = (":get", ":get_all", ":stats")
"""How permissions end that change nothing."""
FAILED = HTTPStatus.BAD_REQUEST.value
"""Replies from this status on hand nothing out."""
REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
MAX_PROJECTS = 100
"""For which one connection counts at a time, besides those that it is subscribed in. Only where
callers are believed can it speak for more."""
FULL = "this project has as many connections as it may have"
TOO_MANY = 1008
"""The close code for a connection beyond a project's limit."""

Observe = Callable[[str, str, int, float], None]

log = structlog.get_logger("nuska.websocket")


class WebSocketService:
    """What all connections of a process have in common, above their sockets."""

    def __init__(
        self,
        core: Core,
        identity: Identity,
        *,
        random_bytes: Callable[[int], bytes],
        observe: Observe | None = None,
        audit: Audit | None = None,
        max_queues: int = MAX_QUEUES,
        too_many: bool = False,
    ) -> None:
        """``observe(action, method, status, seconds)`` is told of every request, ``audit`` of
        those that change something or are refused.
        ``max_queues``: how many one connection may be subscribed to; ``too_many``: who is too
        fast is told so by 429, not by 503."""
        self._core = core
        self._identity = identity
        self._random_bytes = random_bytes
        self._observe = observe
        self._audit = audit
        self._max_queues = max_queues
        self._too_fast = HTTPStatus.SERVICE_UNAVAILABLE
        if too_many:
            self._too_fast = HTTPStatus.TOO_MANY_REQUESTS
        self._of_project: Counter[str] = Counter()

    async def use(self, project: str) -> Mapping[str, int]:
        """Implements ``Meter``, for this process."""
        return {"connections": self._of_project[project]}

    def open_session(self, outlet: Outlet, source: str | None) -> Session:
        """A session for a new connection from this address."""
        standing = Standing(self._core, self._identity, source)
        name = self._random_bytes(NAME_BYTES).hex()
        return Session(outlet, self._core, name, standing, self._max_queues)

    async def perform(self, session: Session, turn: Turn) -> bytes:
        """Carry a turn out; the message that answers it. Fails only when it is cancelled, and what
        was taken for a reply that does not go is given back, however far that had come."""
        began = time.perf_counter()
        try:
            if turn.refusal is None:
                reply = await self._reply(session, turn)
            else:
                reply = await self._refusal(session, turn, turn.refusal)
            if self._audit is not None and turn.action is not None:
                self._tell(self._audit, session, turn, turn.action, reply)
            if self._observe is not None:
                name = UNKNOWN if turn.action is None else turn.action.name
                self._observe(name, METHOD, reply.status, time.perf_counter() - began)
            forget = turn.settles_who
            if turn.binary:
                message = await encode_binary(turn.frame, reply, forget=forget)
            else:
                message = encode_text(turn.frame, reply, forget=forget)
        except BaseException:
            if turn.undo is not None:
                await given_back(turn.undo)
            raise
        if turn.undo is not None and (reply.status >= FAILED or session.has_gone()):
            await given_back(turn.undo)
        return message

    async def _refusal(self, session: Session, turn: Turn, refusal: Reply) -> Reply:
        """What is no request that could be carried out counts like one, where it is known
        whose it is: as on HTTP."""
        project = session.speaks_for
        if project is None or (turn.action is not None and turn.action.settles_who):
            return refusal
        try:
            waiting = self._core.rates.request(project)
            if waiting is not None:
                await waiting
        except RateExceeded as error:
            return Reply(self._too_fast.value, failure(error).body)
        except NuskaError as error:
            return failure(error)
        except Exception as error:
            log.error("unexpected error", action=UNKNOWN, exc_info=error)
            return BUG
        return refusal

    async def _reply(self, session: Session, turn: Turn) -> Reply:
        action, frame = turn.action, turn.frame
        assert action is not None
        assert frame is not None
        spent_by: Caller | None = None
        try:
            named = turn.body.get("queue_name")
            queue = named if isinstance(named, str) else ""
            headers = frame.document["headers"]
            assert isinstance(headers, dict)
            if action.settles_who:
                caller = NOBODY
            else:
                caller = await session.standing.caller(action, headers, queue)
                turn.caller = caller
                waiting = self._core.rates.request(caller.project)
                if waiting is not None:
                    await waiting
                if caller.grant is not None and caller.grant.counted:
                    await session.standing.spend(caller)
                    spent_by = caller
                self._check(caller, action, queue, turn.body)
                self._count(session, caller.project)
            return await action.handler(Call(session, self._core, turn, frame, caller, queue))
        except Refused as refusal:
            return refusal.reply
        except RateExceeded as error:
            if spent_by is not None:
                await self._core.desk.give_back(spent_by)
            return Reply(self._too_fast.value, failure(error).body)
        except NuskaError as error:
            if isinstance(error, Unavailable):
                log.warning("unavailable", reason=error.description, action=action.name)
                log.debug("unavailable because of", exc_info=error.__cause__)
            return failure(error)
        except Exception as error:
            log.error("unexpected error", action=action.name, exc_info=error)
            return BUG

    def _tell(
        self, audit: Audit, session: Session, turn: Turn, action: Action, reply: Reply
    ) -> None:
        refused = reply.status in REFUSALS
        changes = action.permission is not None and not action.permission.endswith(READS)
        if not (changes or refused):
            return
        queue = turn.body.get("queue_name")
        named = f" {queue[:MAX_QUEUE_NAME]}" if isinstance(queue, str) else ""
        audit(
            Deed(
                action=action.permission or "",
                changes=changes,
                refused=refused,
                target=f"{action.name}{named}",
                method=METHOD,
                status=reply.status,
                request_id="",
                source=session.standing.source or "unix",
                caller=turn.caller,
            )
        )

    def closed(self, session: Session) -> None:
        """The connection of a session is closed."""
        session.lost()
        for project in session.projects:
            self._uncount(project)
        session.projects.clear()

    def _count(self, session: Session, project: str) -> None:
        """A connection is counted for every project that it speaks for, up to the last
        ``MAX_PROJECTS``."""
        projects = session.projects
        if project in projects or session.closed:
            return
        book = self._core.quota_book
        limit = book.of(project).connections
        if limit is not None and self._of_project[project] >= limit:
            book.count_refusal("connections", project)
            if not projects:
                session.outlet.close(TOO_MANY, FULL)
            raise Unavailable(f"{FULL.capitalize()}: connections is limited to {limit}.")
        if len(projects) >= MAX_PROJECTS:
            idle = next((one for one in projects if not session.is_subscribed_in(one)), None)
            if idle is not None:
                del projects[idle]
                self._uncount(idle)
        self._of_project[project] += 1
        projects[project] = None

    def _uncount(self, project: str) -> None:
        self._of_project[project] -= 1
        if not self._of_project[project]:
            del self._of_project[project]

    def _check(
        self, caller: Caller, action: Action, queue: str, body: Mapping[str, object]
    ) -> None:
        """The order is that of HTTP: the name, then whether the caller may."""
        if queue or "queue_name" in (field.name for field in action.fields if field.required):
            check_queue(queue, caller.project)
        if action.permission is not None:
            ref = QueueRef(caller.project, queue) if queue else _other_place(caller, action, body)
            allow(caller, action.permission, ref)


def _other_place(caller: Caller, action: Action, body: Mapping[str, object]) -> QueueRef | None:
    """What the request is about where that is no queue: a topic, or the first of several queues.
    Whoever subscribes is asked about every single one (``core/connected.py``)."""
    published = body.get(TOPIC.name) if TOPIC in action.fields else None
    several = body.get(QUEUES.name) if QUEUES in action.fields else None
    if isinstance(published, str):
        check_queue(published, caller.project)
        return topic(caller.project, published)
    if isinstance(several, list) and several:
        check_queue(several[0], caller.project)
        return QueueRef(caller.project, several[0])
    return None


NOBODY = Caller("")
"""For what is asked before it is known who asks."""
