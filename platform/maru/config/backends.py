"""Where things are kept and carried, in each of the two profiles: Django's settings for it."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from maru.config.env import Env

WEB_DATABASE_CONNECTIONS = 20
REDIS_CONNECTIONS = 50
# A process that hangs within a transaction keeps its locks: a room that it holds is closed to
# everybody, and so is the sweep that would take its runs from it. PostgreSQL ends it then.
STALLED_MILLISECONDS = 5_000

_SQLITE_START = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA mmap_size = 134217728;
    PRAGMA cache_size = -16000;
"""


def database(env: Env) -> dict[str, Any]:
    """SQLite in the data folder, or PostgreSQL."""
    if env.database_url is None:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": env.data_dir.absolute() / "maru.sqlite3",
            # In memory, the threads of a test would not see one database.
            "TEST": {"NAME": env.data_dir.absolute() / "test.sqlite3"},
            "OPTIONS": {
                # A transaction that reads first and writes later fails at once when another one
                # wrote in between, whatever the timeout: so take the lock at the start.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": _SQLITE_START,
            },
        }
    url = urlsplit(env.database_url.get_secret_value())
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": unquote(url.hostname or ""),
        "PORT": url.port or "",
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "options": f"-c idle_in_transaction_session_timeout={STALLED_MILLISECONDS}",
            **dict(parse_qsl(url.query)),
            # Each request runs in a thread of its own: only a pool lets them share connections.
            # One that cannot connect waits twice as long each time; but it begins anew with
            # whoever asks after it has given up.
            "pool": {
                "min_size": 1,
                "max_size": WEB_DATABASE_CONNECTIONS,
                "timeout": 10,
                "reconnect_timeout": 5,
            },
        },
    }


def channel_layer(env: Env) -> dict[str, Any]:
    """The layer that carries frames from whoever publishes to the hub of each process."""
    if env.redis_url is None:
        # Beyond its capacity the layer drops in silence; the default is 100.
        return {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": 10_000, "expiry": 60},
        }
    # Redis-py 8 ends its pool at 100 connections and raises beyond; and a read that waits for a
    # message must have no time limit.
    address = env.redis_url.get_secret_value()
    host = {"address": address, "max_connections": REDIS_CONNECTIONS, "socket_timeout": None}
    return {
        "BACKEND": "rooms.fanout.redis_layer.RedisLayer",
        "CONFIG": {"hosts": [host], "prefix": "maru"},
    }


def redis_options() -> dict[str, Any]:
    """How long we wait for Redis where what it holds may be lost."""
    return {
        "max_connections": REDIS_CONNECTIONS,
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
    }


def cache(env: Env) -> dict[str, Any]:
    """What may be forgotten: counters of rate limits."""
    if env.redis_url is None:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 100_000},  # beyond, it forgets attempts to sign in
        }
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": env.redis_url.get_secret_value(),
        "KEY_PREFIX": "maru",
        "OPTIONS": {"max_connections": REDIS_CONNECTIONS, "socket_timeout": 5},
    }


def mail(env: Env) -> dict[str, Any]:
    """Django's `EMAIL_…` settings."""
    if env.email_url is None:
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    url = urlsplit(env.email_url.get_secret_value())
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": url.hostname,
        "EMAIL_PORT": url.port or (465 if url.scheme == "smtps" else 587),
        "EMAIL_HOST_USER": unquote(url.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(url.password or ""),
        "EMAIL_USE_TLS": url.scheme == "smtp" and url.username is not None,
        "EMAIL_USE_SSL": url.scheme == "smtps",
    }


def openid_connect(env: Env) -> dict[str, Any]:
    """Return the provider that people may sign in through, if one is named."""
    if env.oidc_issuer is None:
        return {"APPS": []}
    app = {
        "provider_id": "oidc",
        "name": env.oidc_name,
        "client_id": env.oidc_client_id,
        "secret": env.oidc_client_secret.get_secret_value() if env.oidc_client_secret else "",
        "settings": {"server_url": env.oidc_issuer},
    }
    return {"APPS": [app], "OAUTH_PKCE_ENABLED": True}
