"""Pages of lists: the query parameters, the body, and the query of one page."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from accounts.errors import Invalid

MAX_PAGE: Final = 200

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)

Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE, description="items per page")]
Cursor = Annotated[str, Meta(max_length=100, description="`next` of the previous page")] | None
Words = Annotated[
    str, Meta(max_length=80, description="only names and handles with a word that begins so")
]
"""The parameter `q` of lists of people and personas."""


class Page(Struct, Generic[Item], frozen=True):
    """One page of a list; `next` is the cursor of the next page, null on the last page."""

    items: list[Item]
    next: str | None


def each(body: Callable[[Row], Item]) -> Callable[[list[Row]], list[Item]]:
    """Return the function that maps `body` over a list of rows."""
    return lambda rows: [body(row) for row in rows]


def page_of(
    rows: QuerySet[Row],
    bodies: Callable[[list[Row]], list[Item]],
    *,
    limit: int,
    cursor: str | None,
    key: str = "pk",
    ascending: bool = False,
    fitting: Callable[[list[Row]], list[Row]] = lambda rows: rows,
) -> Page[Item]:
    """Return one page of `rows` in the order of `key`, a unique field; newest first by default.

    `fitting` returns the first rows that fit into a page, at least one. Raises Invalid if `cursor`
    is not a value of that field.
    """
    rows = rows.order_by(key if ascending else f"-{key}")
    if cursor is not None:
        last = parse_cursor(rows.model, key, cursor)
        rows = rows.filter(**{f"{key}__{'gt' if ascending else 'lt'}": last})
    found = list(rows[: limit + 1])
    shown = fitting(found[:limit])
    next_cursor = str(getattr(shown[-1], key)) if len(found) > len(shown) else None
    return Page(items=bodies(shown), next=next_cursor)


def parse_cursor(model: type[Model], key: str, cursor: str) -> Any:  # Any: the field's own type
    """Return the value of the field `key` that a cursor names; raise Invalid if it is none."""
    field: Any = model._meta.pk if key == "pk" else model._meta.get_field(key)
    # A foreign key would look for the row; its target only parses the value.
    field = getattr(field, "target_field", field)
    try:
        return field.clean(cursor, None)
    except ValidationError:
        raise Invalid(
            fields={
                "cursor": _("This cursor is not valid for this list. Start again without a cursor.")
            }
        ) from None
