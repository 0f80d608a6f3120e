"""The border between what somebody typed and what a row may hold."""

import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NoReturn

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from accounts.errors import Conflict, Invalid


def clean_text(text: str) -> str:
    """The text with line breaks of one kind, and without what no database or model should get."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(one for one in lines if one in "\n\t" or not _is_control(one)).strip()


def check_row(row: models.Model, *, exclude: Collection[str] = ()) -> None:
    """Raise Invalid, with a sentence for each field that the row's model does not take."""
    found = _too_long(row)
    try:
        # The database judges constraints: between a look and a write, others write.
        row.full_clean(exclude, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        found |= {name: messages[0] for name, messages in error.message_dict.items()}
    if found:
        raise Invalid(next(iter(found.values())), fields=found)


@contextmanager
def one_of_a_kind(field: str, sentence: str | Promise) -> Iterator[None]:
    """Turn the refusal of the database to keep the same thing twice into a Conflict."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise Conflict(sentence, fields={field: sentence}) from None


def refuse(field: str, sentence: str | Promise) -> NoReturn:
    """Raise Invalid because of one field."""
    raise Invalid(sentence, fields={field: sentence})


def _too_long(row: models.Model) -> dict[str, str | Promise]:
    """Django leaves the length of a TextField to the form; other ways in have no form."""
    found: dict[str, str | Promise] = {}
    for field in row._meta.concrete_fields:
        limit = field.max_length
        if isinstance(field, models.TextField) and limit and len(getattr(row, field.name)) > limit:
            found[field.name] = _("Use at most %(limit)s characters.") % {"limit": limit}
    return found


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"}
