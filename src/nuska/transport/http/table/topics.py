"""The rows about topics: those of queues that make sense without anybody who takes messages.

Handlers and schemas are those of queues but where they are named here; permissions of what is
below a topic are the same.
"""

from msgspec.structs import replace

from nuska.transport.http import queues
from nuska.transport.http.table.dead_letters import DEAD_LETTERS, REDRIVE
from nuska.transport.http.table.deliveries import ATTEMPTS, REPLAY, STANDING, TRIAL
from nuska.transport.http.table.messages import MESSAGE, MESSAGES
from nuska.transport.http.table.queues import PURGE, QUEUE, QUEUES, STATS
from nuska.transport.http.table.rows import Operation, Route
from nuska.transport.http.table.streams import STREAM
from nuska.transport.http.table.subscriptions import CONFIRM, SUBSCRIPTION, SUBSCRIPTIONS

_SCHEMAS = {"QueueList": "TopicList", "Metadata": "TopicMetadata", "Stats": "TopicStats"}
_TAKING = frozenset({"deleteMessages"})
"""Operations that a topic has not: who pops takes from everybody."""


def _of_topics(route: Route) -> Route:
    path = route.path.replace("/v2/queues", "/v2/topics").replace("{queue_name}", "{topic_name}")
    operations = [_of_topic(op) for op in route.operations if op.name not in _TAKING]
    return replace(route, path=path, operations=tuple(operations))


def _of_topic(operation: Operation) -> Operation:
    renamed = operation.name.replace("Queue", "Topic")
    action = operation.action
    lists = operation.handler is queues.list_queues
    return replace(
        operation,
        name=f"{renamed}OfTopic" if renamed == operation.name else renamed,
        summary=operation.summary.replace("queue", "topic"),
        handler=queues.list_topics if lists else operation.handler,
        query=tuple(
            replace(parameter, description=parameter.description.replace("queue", "topic"))
            for parameter in operation.query
        ),
        action=None if action is None else action.replace("queues:", "topics:"),
        answers={
            status: schema if schema is None else _SCHEMAS.get(schema, schema)
            for status, schema in operation.answers.items()
        },
        relation=None,
    )


TOPIC_ROUTES = tuple(
    _of_topics(route)
    for route in (
        QUEUES,
        QUEUE,
        STATS,
        PURGE,
        MESSAGES,
        STREAM,
        MESSAGE,
        SUBSCRIPTIONS,
        SUBSCRIPTION,
        CONFIRM,
        ATTEMPTS,
        STANDING,
        TRIAL,
        REPLAY,
        DEAD_LETTERS,
        REDRIVE,
    )
)
