"""How the page of the audit shows what an entry holds."""

from collections.abc import Mapping

from django import template
from django.utils.translation import gettext as _

register = template.Library()


@register.filter
def fact(value: object, names: Mapping[str, str]) -> str:
    """Return a value of an entry as people write it; `names` are of people, by their ids."""
    if isinstance(value, list):
        return ", ".join(fact(one, names) for one in value) or _("none")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return names.get(str(value), str(value)) if value not in (None, "") else _("none")
