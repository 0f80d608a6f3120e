"""Data of a page for its scripts."""

from typing import Any

from django import template
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.html import json_script
from django.utils.safestring import SafeString

register = template.Library()


class _Compact(DjangoJSONEncoder):
    """Writes no spaces between the values."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "separators": (",", ":")})


@register.filter
def data_script(value: object, element_id: str) -> SafeString:
    """Return Django's `json_script` without spaces."""
    return json_script(value, element_id, encoder=_Compact)
