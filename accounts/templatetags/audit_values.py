"""Values of audit entries, as the audit page shows them."""

from collections.abc import Mapping

from django import template
from django.utils.translation import gettext as _

register = template.Library()


@register.filter
def audit_value(value: object, names: Mapping[str, str]) -> str:
    """Return a value of an audit entry as text; `names` maps user ids to names."""
    if isinstance(value, list):
        return ", ".join(audit_value(item, names) for item in value) or _("none")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return names.get(str(value), str(value)) if value not in (None, "") else _("none")
