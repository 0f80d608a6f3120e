"""A template tag for pages that offer sign-up only if it is open."""

from typing import Any

from allauth.account.adapter import get_adapter
from django import template

register = template.Library()


@register.simple_tag(takes_context=True)
def signup_is_open(context: dict[str, Any]) -> bool:
    """Return True if the visitor of this page may create an account."""
    request = context["request"]
    return bool(get_adapter(request).is_open_for_signup(request))
