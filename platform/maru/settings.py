"""Django settings of every environment. Values come only from `maru.config.env`."""

from ipaddress import ip_network
from pathlib import Path

import django_stubs_ext
from django.utils.translation import gettext_lazy as _

from agents.provider_keys import connection_keys
from maru.config import env, logs
from maru.config.backends import (
    allowed_hosts,
    cache,
    channel_layer,
    database,
    mail,
    openid_connect,
    redis_options,
    redis_sentinel,
    redis_url,
)
from maru.config.secret_key import embedded_secret_key, make_folder
from maru.config.service_urls import parse_proxy_url

django_stubs_ext.monkeypatch()  # allows ModelAdmin[User] and the like at run time

ENV = env.load()
LOGGING_CONFIG = None  # Django would configure the log later, after errors in this module
logs.configure(as_json=ENV.log_format == "json", level=ENV.log_level)
BASE_DIR = Path(__file__).resolve().parents[2]
EMBEDDED = ENV.embedded
DATA_DIR = ENV.data_dir.absolute()

if EMBEDDED:
    make_folder(ENV.data_dir)

DEBUG = False
SECRET_KEY = (
    ENV.secret_key.get_secret_value() if ENV.secret_key else embedded_secret_key(ENV.data_dir)
)
SECRET_KEY_FALLBACKS = [key.get_secret_value() for key in ENV.secret_key_fallbacks]

PUBLIC_URL = ENV.public_url or f"http://127.0.0.1:{ENV.port}"
ALLOWED_HOSTS = allowed_hosts(ENV)
CSRF_TRUSTED_ORIGINS = [ENV.public_url] if ENV.public_url else []
HTTPS = PUBLIC_URL.startswith("https://")
TRUSTED_PROXIES = ENV.trusted_proxies
METRICS_ALLOW = [ip_network(network) for network in ENV.metrics_allow]
METRICS_HOST, METRICS_PORT = ENV.metrics_host, ENV.metrics_port
REVISION = ENV.revision
SECURE_SSL_REDIRECT = False  # the proxy redirects: only the proxy sees the scheme of the request
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS and ENV.hsts in {"subdomains", "preload"}
SECURE_HSTS_PRELOAD = HTTPS and ENV.hsts == "preload"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "maru_session", "maru_csrf"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # SECURE_HSTS_INCLUDE_SUBDOMAINS: only the owner of the domain can decide it
    "security.W008",  # SECURE_SSL_REDIRECT: see above
    "security.W021",  # SECURE_HSTS_PRELOAD: only the owner of the domain can decide it
]

_SELF, _NONE = "'self'", "'none'"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [_NONE],
        "script-src": [_SELF],
        "style-src": [_SELF],
        "img-src": [_SELF],
        "font-src": [_SELF],
        "connect-src": [_SELF],
        "manifest-src": [_SELF],
        "form-action": [_SELF],
        "frame-ancestors": [_NONE],
        "base-uri": [_NONE],
        "object-src": [_NONE],
    }
}

INSTALLED_APPS = [
    "maru.apps.MaruConfig",
    "rooms.apps.RoomsConfig",
    "agents.apps.AgentsConfig",
    "accounts.apps.AccountsConfig",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "channels",
    "guardian",
    "csp",
]
MIDDLEWARE = [
    "maru.web.middleware.probes_by_any_name",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "maru.web.middleware.private_pages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "maru.web.middleware.counted",
    "maru.web.middleware.audited",
    "maru.web.middleware.NamedErrors",
]
ROOT_URLCONF = "maru.urls"
ASGI_APPLICATION = "maru.server.asgi.application"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "maru.web.template_loader.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.views.parts.frame",
            ],
        },
    }
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": database(ENV)}
CHANNEL_LAYERS = {"default": channel_layer(ENV)}
CACHES = {"default": cache(ENV)}
DATABASE_URL = ENV.database_url.get_secret_value() if ENV.database_url else ""
REDIS_URL, REDIS_SENTINEL = redis_url(ENV), redis_sentinel(ENV)
REDIS_OPTIONS = redis_options()

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "allauth.account.auth_backends.AuthenticationBackend",
    "guardian.backends.ObjectPermissionBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", **extra}
    for name, extra in (
        ("UserAttributeSimilarityValidator", {"OPTIONS": {"user_attributes": ("name", "email")}}),
        ("MinimumLengthValidator", {"OPTIONS": {"min_length": 10}}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
ANONYMOUS_USER_NAME = None  # guardian must not create a user for anonymous visitors
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "rooms:home"
ACCOUNT_ADAPTER = "accounts.login.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
# With open sign-up or a mail server, an account needs a verified email. Otherwise, the invitation
# is sufficient.
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if ENV.signup == "open" or ENV.email_url else "optional"
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True  # only in the browser that signed up
ACCOUNT_CHANGE_EMAIL = ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_FORMS = {
    "login": "accounts.login.forms.LoginForm",
    "signup": "accounts.login.forms.SignupForm",
    "reset_password": "accounts.login.forms.ResetPasswordForm",
    "reset_password_from_key": "accounts.login.forms.ResetPasswordKeyForm",
    "change_password": "accounts.login.forms.ChangePasswordForm",
    "set_password": "accounts.login.forms.SetPasswordForm",
    "add_email": "accounts.login.forms.ChangeEmailForm",
    "reauthenticate": "accounts.login.forms.ReauthenticateForm",
}
# A code is valid for one step of 30 seconds, and allauth remembers it as used for one step.
# A tolerance of more steps would let a code be used twice.
MFA_TOTP_TOLERANCE = 0
MFA_TOTP_ISSUER = "Maru"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS  # browsers allow it only on localhost
MFA_ALLOW_UNVERIFIED_EMAIL = True  # without a mail server, no email is ever verified
MFA_ADAPTER = "accounts.login.adapters.MfaAdapter"
MFA_FORMS = {
    "activate_totp": "accounts.login.mfa_forms.ActivateForm",
    "deactivate_totp": "accounts.login.mfa_forms.DeactivateForm",
    "authenticate": "accounts.login.mfa_forms.CodeForm",
    "reauthenticate": "accounts.login.mfa_forms.ReauthenticateCodeForm",
    "add_webauthn": "accounts.login.mfa_forms.PasskeyForm",
    "edit_webauthn": "accounts.login.mfa_forms.PasskeyNameForm",
}
SOCIALACCOUNT_ADAPTER = "accounts.login.oidc.OidcAdapter"
# A user whose email the OpenID Connect provider has verified is signed in to the account with it.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_PROVIDERS = {"openid_connect": openid_connect(ENV)}
USERSESSIONS_ADAPTER = "accounts.login.adapters.SessionsAdapter"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_LOGIN_ON_PASSWORD_RESET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS: dict[str, str] | bool = {} if ENV.rate_limits == "on" else False
SIGNUP = ENV.signup
globals().update(mail(ENV))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = ENV.email_from

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ko", _("Korean"))]
TIME_ZONE = "UTC"
USE_TZ = USE_I18N = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "maru.assets.storages.Finder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": f"maru.assets.storages.{'SourceFiles' if EMBEDDED else 'CollectedFiles'}"
    },
}

DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
EGRESS_ALLOW = frozenset(ENV.egress_allow)
EGRESS_PROXY = parse_proxy_url(ENV.egress_proxy.get_secret_value()) if ENV.egress_proxy else None
CONNECTION_KEYS = connection_keys(SECRET_KEY, SECRET_KEY_FALLBACKS)
TOOLS = ENV.tools
RUN_SECONDS = ENV.run_seconds
APPROVAL_HOURS = ENV.approval_hours
RUN_CHARACTERS = ENV.run_characters
RUN_TOKENS = ENV.run_tokens
RUN_CONCURRENCY = ENV.run_concurrency
RUN_BOUNDS = {
    "runs_per_user": ENV.runs_per_user,
    "runs_per_room": ENV.runs_per_room,
    "runs_per_team": ENV.runs_per_team,
    "queued_per_user": ENV.queued_per_user,
    "queued_per_room": ENV.queued_per_room,
    "queued_per_team": ENV.queued_per_team,
}
ANSWERS_PER_MESSAGE = ENV.answers_per_message
RATE_LIMITS = ENV.rate_limits == "on"
CONNECTIONS, CONNECTIONS_PER_ADDRESS = ENV.connections, ENV.connections_per_address
