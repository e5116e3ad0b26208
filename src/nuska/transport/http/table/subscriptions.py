"""The rows about subscriptions."""

from nuska.core.confirmations import PAGE_PATH
from nuska.transport.http import confirm_page, subscriptions
from nuska.transport.http.table.rows import MARKER, QUEUE_PATH, Admits, Operation, Route, limit

_SUBSCRIPTIONS = f"{QUEUE_PATH}/subscriptions"
_SUBSCRIPTION = f"{_SUBSCRIPTIONS}/{{subscriptions_id}}"

SUBSCRIPTIONS = Route(
    _SUBSCRIPTIONS,
    (
        Operation(
            method="GET",
            handler=subscriptions.list_subscriptions,
            name="listSubscriptions",
            summary="The subscriptions of a queue, by id.",
            action="subscription:get_all",
            query=(MARKER, limit(lambda limits: limits.max_subscriptions_per_page)),
            answers={200: "SubscriptionList"},
            relation="rel/subscriptions_get",
            relation_query="marker,limit",
        ),
        Operation(
            method="POST",
            handler=subscriptions.post_subscription,
            name="createSubscription",
            summary="Have a subscriber told of what is posted; a missing queue is created.",
            action="subscription:create",
            body="NewSubscription",
            body_required=True,
            answers={201: "SubscriptionCreated"},
            refusals=(409,),
            relation="rel/subscriptions_post",
        ),
    ),
    Admits.CALLERS_OR_SIGNED,
)

SUBSCRIPTION = Route(
    _SUBSCRIPTION,
    (
        Operation(
            method="GET",
            handler=subscriptions.get_subscription,
            name="getSubscription",
            summary="One subscription.",
            action="subscription:get",
            answers={200: "Subscription"},
            refusals=(404,),
            relation="rel/subscription",
        ),
        Operation(
            method="PATCH",
            handler=subscriptions.patch_subscription,
            name="updateSubscription",
            summary="Change some of a subscription; a disabled one is tried again.",
            action="subscription:update",
            body="SubscriptionChange",
            body_required=True,
            answers={204: None},
            refusals=(404, 409),
            relation="rel/subscription_patch",
        ),
        Operation(
            method="DELETE",
            handler=subscriptions.delete_subscription,
            name="deleteSubscription",
            summary="End a subscription.",
            action="subscription:delete",
            answers={204: None},
            relation="rel/subscription",
        ),
    ),
    Admits.CALLERS_OR_SIGNED,
)

CONFIRM = Route(
    f"{_SUBSCRIPTION}/confirm",
    (
        Operation(
            method="PUT",
            handler=subscriptions.confirm_subscription,
            name="confirmSubscription",
            summary="Say for the subscriber that he wants to be told, or no longer wants to.",
            action="subscription:confirm",
            body="Confirmed",
            body_required=True,
            answers={204: None},
            refusals=(404,),
        ),
    ),
    Admits.CALLERS_OR_SIGNED,
)

CONFIRM_PAGE = Route(
    PAGE_PATH,
    (
        Operation(
            method="GET",
            handler=confirm_page.show,
            name="showConfirmation",
            summary="Ask a person whether he wants to be told.",
            query=confirm_page.LINK,
        ),
        Operation(
            method="POST",
            handler=confirm_page.answer,
            name="answerConfirmation",
            summary="What the person answered.",
            query=confirm_page.LINK,
        ),
    ),
    Admits.PEOPLE,
)
