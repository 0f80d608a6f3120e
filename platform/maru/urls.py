"""The root URL configuration."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.i18n import set_language

from accounts.admin import site
from accounts.views.urls import factor_patterns
from maru.web import health
from maru.web.api import api
from maru.web.setup import setup

admin.autodiscover()  # accounts.admin defines the site; each app registers its models

handler500 = "maru.web.server_errors.server_error"
urlpatterns = [
    path("", include("rooms.pages.urls")),
    path("", include("agents.views.urls")),
    path("", include("accounts.views.urls")),
    path("accounts/2fa/", include(factor_patterns)),
    path("accounts/", include("allauth.urls")),
    path("setup/<str:token>", setup, name="setup"),
    path("language/", login_not_required(set_language), name="set_language"),
    path("api/v1/", api.urls),
    path("admin/", site.urls),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]
