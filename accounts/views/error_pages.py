"""How pages show what a service has said no to."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest

from accounts.audit.log import set_refusal
from accounts.errors import MaruError, NotFound


def show_error(request: HttpRequest, error: MaruError, form: forms.BaseForm | None = None) -> None:
    """Show it where the form does, at the field or above them all; without one, on the next page.

    What is not there is not shown but raised again: it is a page of its own.
    """
    if isinstance(error, NotFound):
        raise error
    set_refusal(request, error)
    if form is None:
        messages.error(request, str(error.detail))
        return
    named = {name: text for name, text in (error.fields or {}).items() if name in form.fields}
    for name, text in named.items():
        form.add_error(name, str(text))
    if not named:
        form.add_error(None, str(error.detail))
