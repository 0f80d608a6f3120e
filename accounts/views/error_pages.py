"""Shows the error of a service on a page."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest

from accounts.audit.log import set_refusal
from accounts.errors import MaruError, NotFound


def show_error(request: HttpRequest, error: MaruError, form: forms.BaseForm | None = None) -> None:
    """Add the error to the fields of the form that it names, or else to the whole form.

    Without a form, the next page that is rendered shows the error. The error is stored for the
    audit log. NotFound is raised again, for the 404 page.
    """
    if isinstance(error, NotFound):
        raise error
    set_refusal(request, error)
    if form is None:
        messages.error(request, str(error.detail))
        return
    fields = {name: text for name, text in (error.fields or {}).items() if name in form.fields}
    for name, text in fields.items():
        form.add_error(name, str(text))
    if not fields:
        form.add_error(None, str(error.detail))
