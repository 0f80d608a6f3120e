"""Lists on pages: a part of a list, the words it was searched for, and where the next part is."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

PAGE_SIZE: Final = 50
MAX_WORDS: Final = 80

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class ListPage(Generic[Row]):
    """One part of a list; `_list_search.html` and `_list_pages.html` show its form and links."""

    rows: list[Row]
    words: str
    """What the list was searched for; empty for all rows."""
    after: str
    """The id of the row before this part; empty for the first part."""
    next: str
    """The id of the last row, if the list goes on; else empty."""

    @property
    def is_part(self) -> bool:
        """True if the list has rows that this page does not show."""
        return bool(self.words or self.after or self.next)


def list_page(
    rows: QuerySet[Row],
    *,
    words: str = "",
    after: str = "",
    by: str = "name",
    size: int = PAGE_SIZE,
) -> ListPage[Row]:
    """Return the `size` rows that follow the row `after`, in the order of the field `by` and id.

    `by` is a lookup, with `-` before it for the reverse order. `words` have filtered the rows
    already. An unknown id stands for the start of the list.
    """
    field, forward = by.removeprefix("-"), not by.startswith("-")
    order = (field, "pk") if forward else (f"-{field}", "-pk")
    if last := _row(rows, after):
        value: Any = reduce(getattr, field.split("__"), last)
        beyond = "gt" if forward else "lt"
        rest = Q(**{f"{field}__{beyond}": value}) | Q(**{field: value, f"pk__{beyond}": last.pk})
        rows = rows.filter(rest)
    found = list(rows.order_by(*order)[: size + 1])
    return as_page(found[:size], words=words, after=after, has_more=len(found) > size)


def as_page(rows: Iterable[Row], *, words: str, after: str, has_more: bool) -> ListPage[Row]:
    """Return a page of rows that the caller has read."""
    shown = list(rows)
    return ListPage(shown, words, after, str(shown[-1].pk) if has_more else "")


def typed_words(text: str) -> str:
    """Return the words of a search field, at most MAX_WORDS characters on one line."""
    return " ".join(text.replace("\0", "").split())[:MAX_WORDS]


def _row(rows: QuerySet[Row], pk: str) -> Row | None:
    field: Any = rows.model._meta.pk
    try:
        return rows.filter(pk=field.to_python(pk)).first() if pk else None
    except ValidationError:
        return None
