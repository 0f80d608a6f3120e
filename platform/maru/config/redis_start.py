"""Checks at start that Redis accepts Maru's user and its commands.

A Redis that is away, loading or full does not keep a process from starting: messages and answers
are stored in the database in any case.
"""

from typing import Any, Final

import redis
import structlog
from django.conf import settings
from redis.exceptions import NoPermissionError

from accounts.redis_server import close, sync_redis
from maru.config.terminal import give_up

log = structlog.get_logger(__name__)

SECONDS: Final = 2.0
_KEY: Final = "maru:start"

_CREDENTIALS: Final = (
    "Redis refuses the user name or the password, or needs one. Correct them in MARU_REDIS_URL."
)
_RIGHTS: Final = (
    "The Redis user in MARU_REDIS_URL may not use all commands, keys and channels that Maru needs. "
    "Grant it +@all -@dangerous +info ~maru* &maru* in the ACL of Redis."
)
_TLS: Final = (
    "TLS to Redis failed. Begin MARU_REDIS_URL with rediss:// only if Redis offers TLS, and check "
    "ssl_ca_certs and the host name."
)


def check_redis() -> None:
    """End the process with one sentence if Redis refuses the user, a command or TLS."""
    if settings.EMBEDDED:
        return
    try:
        client = sync_redis(socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
        try:
            _use(client)
        finally:
            close(client)
    except redis.AuthenticationError:
        give_up(_CREDENTIALS)
    except NoPermissionError:
        give_up(_RIGHTS)
    except redis.RedisError as error:
        text = str(error).lower()
        if "noauth" in text or "wrongpass" in text or "authentication required" in text:
            give_up(_CREDENTIALS)
        if "ssl" in text or "certificate" in text:
            give_up(_TLS)
        log.warning("redis.unusable", error=type(error).__name__)


def _use(client: Any) -> None:  # Any: redis-py does not type `pubsub`
    """Run one command of each kind that Maru uses, on a key and a channel of its own."""
    client.ping()
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(_KEY)
        pipe.xadd(_KEY, {"t": ""})
        pipe.xrange(_KEY)
        pipe.expire(_KEY, 1)
        pipe.delete(_KEY)
        pipe.zadd(_KEY, {"t": 1})
        pipe.delete(_KEY)
        pipe.set(_KEY, 0, ex=1, nx=True)
        pipe.incr(_KEY)
        pipe.pttl(_KEY)
        pipe.publish(_KEY, "")
        pipe.execute()
    with client.pubsub() as subscriber:
        subscriber.subscribe(_KEY)
        subscriber.get_message(timeout=SECONDS)
