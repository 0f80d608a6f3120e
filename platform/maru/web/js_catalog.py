"""The translation catalogue of the scripts, one URL for each language."""

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import translation
from django.views.i18n import JavaScriptCatalog


class CatalogView(JavaScriptCatalog):
    """Django's JavaScript catalogue with the language in the URL, so that it can be cached."""

    packages: list[str] = ["rooms", "agents", "accounts", "maru"]  # noqa: RUF012 # as in Django

    def get(self, request: HttpRequest, *args: Any, language: str, **kwargs: Any) -> HttpResponse:
        if language not in dict(settings.LANGUAGES):
            raise Http404
        with translation.override(language):
            return super().get(request, *args, **kwargs)

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().render_to_response(context, **kwargs)
        response["Cache-Control"] = "public, max-age=3600"
        return response
