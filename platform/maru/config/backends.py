"""Django settings of the back ends (database, channel layer, cache, mail), for both profiles."""

from typing import Any

from maru.config.addresses import UNIX, bracketed, parse_url
from maru.config.env import Env
from maru.config.service_urls import (
    SENTINEL_PORT,
    parse_database_url,
    parse_mail_url,
    parse_redis_url,
    redis_location,
)

WEB_DATABASE_CONNECTIONS = 20
REDIS_CONNECTIONS = 50

_SQLITE_START = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA mmap_size = 134217728;
    PRAGMA cache_size = -16000;
"""


def allowed_hosts(env: Env) -> list[str]:
    """Return `ALLOWED_HOSTS`: this machine, the listen address, the public address, MARU_HOSTS."""
    names = ["127.0.0.1", "localhost", "[::1]"]
    if not env.host.startswith(UNIX):
        names.append(bracketed(env.host))
    if env.public_url:
        names.append(bracketed(parse_url(env.public_url, ("https", "http")).host))
    return [*names, *env.hosts]


def database(env: Env) -> dict[str, Any]:
    """Return `DATABASES["default"]`: SQLite in the data folder, or PostgreSQL with a pool."""
    if env.database_url is None:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": env.data_dir.absolute() / "maru.sqlite3",
            # A file, because the threads of a test cannot share an in-memory database.
            "TEST": {"NAME": env.data_dir.absolute() / "test.sqlite3"},
            "OPTIONS": {
                # A deferred transaction that reads and then writes fails with SQLITE_BUSY at once
                # if another transaction wrote in between: `timeout` does not apply when a read
                # lock becomes a write lock. IMMEDIATE takes the write lock at the start.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": _SQLITE_START,
            },
        }
    url = parse_database_url(env.database_url.get_secret_value())
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path or url.query.get("dbname", ""),
        "USER": url.user or "",
        "PASSWORD": url.password or "",
        "HOST": url.host,
        "PORT": url.port or "",
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **url.query,
            # Each request runs in its own thread, so only a pool lets requests share connections.
            # psycopg_pool doubles its delay between attempts to connect, up to
            # `reconnect_timeout`; the next request after that starts a new series of attempts.
            "pool": {
                "min_size": 1,
                "max_size": WEB_DATABASE_CONNECTIONS,
                "timeout": 10,
                "reconnect_timeout": 5,
            },
        },
    }


def redis_url(env: Env) -> str:
    """Return MARU_REDIS_URL as redis-py reads it; empty if redis-py cannot read it."""
    if env.redis_url is None or redis_sentinel(env) is not None:
        return ""
    return redis_location(parse_redis_url(env.redis_url.get_secret_value()))


def redis_sentinel(env: Env) -> dict[str, Any] | None:
    """Return the host in the form of channels-redis if MARU_REDIS_URL names Redis Sentinel.

    Password, user and TLS are those of the Redis server; TLS is used for both.
    """
    address = parse_redis_url(env.redis_url.get_secret_value()) if env.redis_url else None
    if address is None or not address.scheme.endswith("+sentinel"):
        return None
    query: dict[str, Any] = dict(address.query)
    sentinel = {"username": "sentinel_username", "password": "sentinel_password"}
    own = {name: query.pop(key) for name, key in sentinel.items() if key in query}
    if "ssl_check_hostname" in query:
        query["ssl_check_hostname"] = query["ssl_check_hostname"].lower() == "true"
    tls = {"ssl": True} if address.scheme.startswith("rediss") else {}
    files = {name: value for name, value in query.items() if name.startswith("ssl_")}
    service, _, number = address.path.partition("/")
    return {
        "master_name": service,
        "sentinels": [(host, port or SENTINEL_PORT) for host, port in address.hosts],
        "sentinel_kwargs": {**own, **tls, **files},
        "username": address.user,
        "password": address.password,
        "db": int(number or query.get("db", 0)),
        **tls,
        **files,
    }


def channel_layer(env: Env) -> dict[str, Any]:
    """Return `CHANNEL_LAYERS["default"]`: it carries envelopes from publishers to every hub."""
    if env.redis_url is None:
        # The layer drops messages silently beyond its capacity, which is 100 by default.
        return {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": 10_000, "expiry": 60},
        }
    # redis-py 8 limits a pool to 100 connections and raises beyond it, so set the limit
    # explicitly. A read that waits for a pub/sub message must have no timeout.
    address = redis_sentinel(env) or {"address": redis_url(env)}
    host = {**address, "max_connections": REDIS_CONNECTIONS, "socket_timeout": None}
    return {
        "BACKEND": "rooms.fanout.redis_layer.RedisLayer",
        "CONFIG": {"hosts": [host], "prefix": "maru"},
    }


def redis_options() -> dict[str, Any]:
    """Return options of Redis clients whose data may be lost; timeouts in seconds."""
    return {
        "max_connections": REDIS_CONNECTIONS,
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
    }


def cache(env: Env) -> dict[str, Any]:
    """Return `CACHES["default"]`: it holds rate limit counters, which may be lost."""
    if env.redis_url is None:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            # Beyond this number, counts of sign-in attempts are evicted.
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }
    return {
        "BACKEND": "accounts.redis_server.RedisServerCache",
        "KEY_PREFIX": "maru",
        "OPTIONS": {"max_connections": REDIS_CONNECTIONS, "socket_timeout": 5},
    }


def mail(env: Env) -> dict[str, Any]:
    """Return Django's `EMAIL_…` settings."""
    if env.email_url is None:
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    url = parse_mail_url(env.email_url.get_secret_value())
    return {
        "EMAIL_BACKEND": "maru.config.mail.SmtpBackend",
        "EMAIL_HOST": url.host,
        "EMAIL_PORT": url.port or (465 if url.scheme == "smtps" else 587),
        "EMAIL_HOST_USER": url.user or "",
        "EMAIL_HOST_PASSWORD": url.password or "",
        # A password is never sent in plain text. Without one, `SmtpBackend` uses STARTTLS if the
        # server offers it.
        "EMAIL_USE_TLS": url.scheme == "smtp" and url.user is not None,
        "EMAIL_USE_SSL": url.scheme == "smtps",
    }


def openid_connect(env: Env) -> dict[str, Any]:
    """Return allauth's settings of the OpenID Connect provider, if one is configured."""
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
