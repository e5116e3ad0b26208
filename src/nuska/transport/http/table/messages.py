"""The rows about messages."""

from nuska.transport.http import messages
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.table.rows import (
    ATTRIBUTES,
    IDS,
    MARKER,
    QUEUE_PATH,
    WAIT,
    Admits,
    Operation,
    Route,
    limit,
    per_claim_or_pop,
)

_MESSAGES = f"{QUEUE_PATH}/messages"
CLAIM_ID = Parameter("claim_id", Kind.TEXT, "The live claim that holds the message.")

MESSAGES = Route(
    _MESSAGES,
    (
        Operation(
            method="POST",
            handler=messages.post_messages,
            name="postMessages",
            summary="Post messages, all or none; a missing queue is created.",
            action="messages:create",
            body="Post",
            body_required=True,
            idempotent_by_key=True,
            answers={201: "Posted"},
            refusals=(409,),
            relation="rel/post_messages",
        ),
        Operation(
            method="GET",
            handler=messages.get_messages,
            name="listMessages",
            summary="Messages by position, or those of the ids given.",
            action="messages:get_all",
            query=(
                IDS,
                MARKER,
                limit(lambda limits: limits.max_messages_per_page),
                Parameter("echo", Kind.BOOLEAN, "Show also what this client posted."),
                Parameter("include_claimed", Kind.BOOLEAN, "Show also claimed messages."),
                Parameter("include_delayed", Kind.BOOLEAN, "Show also delayed messages."),
                WAIT,
                ATTRIBUTES,
            ),
            answers={200: "MessageList"},
            refusals=(404,),
            relation="rel/messages",
            relation_query="marker,limit,echo,include_claimed",
        ),
        Operation(
            method="DELETE",
            handler=messages.delete_messages,
            name="deleteMessages",
            summary="Delete the messages of the ids given, or take the oldest away (pop).",
            action="messages:delete_all",
            query=(
                IDS,
                Parameter("claim_ids", Kind.LIST, "The claims that hold the messages."),
                Parameter(
                    "pop",
                    Kind.INTEGER,
                    "How many messages to take.",
                    lowest=1,
                    highest=per_claim_or_pop,
                ),
                WAIT,
                ATTRIBUTES,
            ),
            answers={200: "Popped", 204: None},
            relation="rel/messages_delete",
            relation_query="ids,pop",
        ),
    ),
    Admits.CALLERS_OR_SIGNED,
)

MESSAGE = Route(
    f"{_MESSAGES}/{{message_id}}",
    (
        Operation(
            method="GET",
            handler=messages.get_message,
            name="getMessage",
            summary="One message, claimed or delayed or not.",
            action="messages:get",
            query=(ATTRIBUTES,),
            answers={200: "Message"},
            refusals=(404,),
            relation="rel/message_get",
        ),
        Operation(
            method="DELETE",
            handler=messages.delete_message,
            name="deleteMessage",
            summary="Delete one message, if it is free or its claim is named.",
            action="messages:delete",
            query=(CLAIM_ID,),
            answers={204: None},
            refusals=(403,),
            relation="rel/message_delete",
            relation_query="claim",
        ),
    ),
    Admits.CALLERS_OR_SIGNED,
)
