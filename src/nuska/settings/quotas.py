"""What every project may have and how fast it may go: the table ``[quotas]`` of the settings."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from nuska.domain.quotas import MAX_QUOTA

_Stock: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_QUOTA)]
_Rate: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_QUOTA)]


class QuotaSettings(Struct, frozen=True, kw_only=True):
    """Connections, listeners and mail have theirs in the tables about them."""

    quota_queues: Annotated[
        _Stock | None,
        Meta(
            description="Queues and topics that a project may have. Of this and the next ones: "
            "not set means no limit; what an operator says about one project goes first. See "
            "[Quotas](quotas.md)."
        ),
    ] = None
    quota_messages: Annotated[_Stock | None, Meta(description="Messages that it may store.")] = None
    quota_bytes: Annotated[_Stock | None, Meta(description="Bytes of these messages.")] = None
    quota_subscriptions: Annotated[
        _Stock | None, Meta(description="Subscriptions that it may have.")
    ] = None
    quota_claims: Annotated[_Stock | None, Meta(description="Claims it may hold at a time.")] = None
    quota_requests_per_second: Annotated[
        _Rate | None, Meta(description="Requests that it may make in a second.")
    ] = None
    quota_messages_per_second: Annotated[
        _Rate | None, Meta(description="Messages that it may post in a second.")
    ] = None
    quota_too_many: Annotated[
        bool,
        Meta(
            description="Answer 429, not 503, to a project that is too fast, also on Zaqar's "
            "routes: clients written for Zaqar take a 429 for success."
        ),
    ] = False
