"""The fields of forms that name a server elsewhere: its address, and the secrets for it."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

Words = Any
"""A lazy translation, whose class exists only for type checkers, or a string."""


def address_field(help_text: Words, *, placeholder: str) -> forms.CharField:
    """Return the field of the address of a server."""
    attributes = {
        "inputmode": "url",
        "placeholder": placeholder,
        "autocapitalize": "none",
        "spellcheck": "false",
    }
    return forms.CharField(
        label=_("Address"),
        help_text=help_text,
        max_length=400,
        widget=forms.TextInput(attrs=attributes),
    )


def secret_field(label: Words, help_text: Words = "", *, length: int) -> forms.CharField:
    """Return the field of a secret; an empty one keeps what is stored."""
    attributes = {"autocomplete": "off", "spellcheck": "false"}
    return forms.CharField(
        label=label,
        help_text=help_text,
        max_length=length,
        required=False,
        widget=forms.PasswordInput(attrs=attributes),
    )
