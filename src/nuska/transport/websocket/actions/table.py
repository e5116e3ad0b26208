"""The table of actions: nothing can be asked for that is not a row of it."""

from nuska.transport.websocket.actions import claims, messages, queues, service, subscriptions
from nuska.transport.websocket.actions.rows import Action

ACTIONS: dict[str, Action] = {
    action.name: action
    for noun in (service, queues, messages, claims, subscriptions)
    for action in noun.ACTIONS
}
