"""How the endpoints of rooms answer: with the structs of the wire, alone or in pages."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from django.db.models import Model, QuerySet
from django.http import HttpResponse

from accounts.api.endpoints import LONGEST_PAGE
from accounts.errors import Invalid

Row = TypeVar("Row", bound=Model)


def answer(body: Any, status: int = 200) -> HttpResponse:
    """Return a struct, or what holds structs, as the answer of an endpoint."""
    return HttpResponse(msgspec.json.encode(body), content_type="application/json", status=status)


def page(
    rows: QuerySet[Row], shape: Callable[[list[Row]], list[Any]], limit: int, key: str
) -> HttpResponse:
    """Answer with one page of rows; `key` names the field of a body that goes on from there."""
    limit = min(limit, LONGEST_PAGE)
    items = shape(list(rows[: limit + 1]))
    following = str(getattr(items[limit - 1], key)) if len(items) > limit else None
    return answer({"items": items[:limit], "next": following})


def each(body: Callable[[Row], Any]) -> Callable[[list[Row]], list[Any]]:
    """Return what shapes a list of rows, for what shapes one."""
    return lambda rows: [body(row) for row in rows]


def uuid_of(cursor: str) -> UUID:
    """Read a cursor of a list that is ordered by ids."""
    try:
        return UUID(cursor)
    except ValueError:
        raise Invalid from None


def seq_of(cursor: str | None) -> int | None:
    """Read a cursor of a list that is ordered by seqs."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise Invalid
    return int(cursor)
