"""The ranges that every transport enforces alike (I10); messages name the field and the limit."""

from nuska.domain.errors import InvalidInput
from nuska.domain.limits import DEFAULT_PAGE


def check_range(what: str, value: int, lowest: int, highest: int) -> int:
    """``value`` as a plain integer; ``InvalidInput`` when it is outside the range."""
    if lowest <= value <= highest:
        return int(value)
    raise InvalidInput(f"The value of {what} must be from {lowest} to {highest}, not {int(value)}.")


def page_size(limit: int | None, highest: int) -> int:
    """How many items a page has: as asked, or the default where the maximum admits it."""
    if limit is None:
        return min(DEFAULT_PAGE, highest)
    return check_range("limit", limit, 1, highest)


def check_ids(what: str, ids: list[str], highest: int) -> list[str]:
    """``ids`` without repetitions; ``InvalidInput`` when there are none or too many."""
    if not 0 < len(ids) <= highest:
        raise InvalidInput(f"The number of {what} must be from 1 to {highest}, not {len(ids)}.")
    return list(dict.fromkeys(ids))
