"""The headers `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)."""

from collections.abc import Callable, Iterable
from functools import wraps
from math import ceil
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts import rate_limits
from accounts.rate_limits import Standing


def with_rate_limits(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Add the headers to each response of a view, refusals included, if a limit has applied."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with rate_limits.recorded() as standings:
            response = view(request, *args, **kwargs)
        if shown := list(_shown(standings)):
            # A list of quoted names with parameters: RFC 9651, sections 3.1 and 3.1.2.
            response["RateLimit-Policy"] = ", ".join(
                f'"{name}";q={each.limit.max_count};w={each.limit.seconds}' for name, each in shown
            )
            response["RateLimit"] = ", ".join(
                f'"{name}";r={each.remaining};t={max(1, ceil(each.seconds))}'
                for name, each in shown
            )
        return response

    return wrapped


def _shown(standings: Iterable[Standing]) -> Iterable[tuple[str, Standing]]:
    """Return the limit of each action that has the fewest uses left, with its policy name.

    The limits of a room and a team are shown only when they are exceeded: the use that is left
    would tell how much the other members do.
    """
    fewest: dict[str, Standing] = {}
    for each in standings:
        if each.kind in (rate_limits.ROOM, rate_limits.TEAM) and not each.exceeded:
            continue
        best = fewest.setdefault(each.action, each)
        if (not each.exceeded, each.remaining) < (not best.exceeded, best.remaining):
            fewest[each.action] = each
    names = {rate_limits.CALL: "default"}
    return [(names.get(action, action), each) for action, each in fewest.items()]
