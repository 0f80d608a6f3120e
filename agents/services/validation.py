"""Turns user input into values that a row can hold, or raises an error that names the field."""

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
    """Return the text with LF line breaks, without control characters and lone surrogates."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        character
        for character in lines
        if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cs"}
    ).strip()


def validate_row(row: models.Model, *, exclude: Collection[str] = ()) -> None:
    """Raise Invalid, with a sentence for each field that does not pass the model's validators."""
    errors: dict[str, str | Promise] = {}
    # Django checks the length of a TextField only in forms, and the API has no forms.
    for field in row._meta.concrete_fields:
        limit = field.max_length
        if isinstance(field, models.TextField) and limit and len(getattr(row, field.name)) > limit:
            errors[field.name] = _("Use at most %(limit)s characters.") % {"limit": limit}
    try:
        # Constraints are not checked here: another transaction can insert a duplicate between the
        # check and our insert, so only the database can decide (`unique_or_conflict`).
        row.full_clean(exclude, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        errors |= {name: messages[0] for name, messages in error.message_dict.items()}
    if errors:
        raise Invalid(next(iter(errors.values())), fields=errors)


@contextmanager
def unique_or_conflict(field: str, sentence: str | Promise) -> Iterator[None]:
    """Raise Conflict with `sentence` if the database refuses a row as a duplicate."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise Conflict(sentence, fields={field: sentence}) from None


def reject(field: str, sentence: str | Promise) -> NoReturn:
    """Raise Invalid because of one field."""
    raise Invalid(sentence, fields={field: sentence})
