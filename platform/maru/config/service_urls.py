"""What each URL in the settings may contain: database, Redis, mail, public address, issuer.

Every function raises `addresses.Mistake`.
"""

from dataclasses import replace
from typing import Final
from urllib.parse import quote, urlencode

from psycopg.pq import Conninfo

from maru.config.addresses import Address, Mistake, bracketed, parse_host, parse_url

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
REDIS_SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "redis+sentinel": "redis+sentinel",
    "rediss+sentinel": "rediss+sentinel",
    "valkey+sentinel": "redis+sentinel",
    "valkeys+sentinel": "rediss+sentinel",
    "unix": "unix",
}
"""Each scheme that is accepted, and the name under which redis-py or `redis_server` knows it."""
_REDIS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_REDIS_OPTIONS: Final = (*_REDIS_FILES, "ssl_cert_reqs", "ssl_check_hostname", "db")
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
_CERT_REQS: Final = ("none", "optional", "required")
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
SENTINEL_PORT: Final = 26_379


def parse_database_url(url: str) -> Address:
    """Return the parts of a PostgreSQL URL. libpq's parameters may follow after `?`."""
    address = parse_url(url, ("postgresql", "postgres"), host_needed=False)
    name = address.path.removeprefix("/")
    if not (name or address.query.get("dbname")):
        raise Mistake("names no database; write it at the end: postgresql://user@host:5432/name")
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if not set(address.query) <= known:
        raise Mistake("has an option after ? that libpq does not know")
    if address.query.get("sslmode", "prefer") not in SSL_MODES:
        raise Mistake(f"needs one of {', '.join(SSL_MODES)} as its sslmode")
    if not address.query.get("host", "/").startswith("/"):
        parse_host(address.query["host"])
    return replace(address, path=name)


def parse_redis_url(url: str) -> Address:
    """Return the parts of a Redis, Valkey or Sentinel URL; `path` is the database or the service.

    `scheme` is the name that `REDIS_SCHEMES` gives it.
    """
    sentinel = "+sentinel://" in url[:20].lower()
    unix = url[:7].lower() == "unix://"
    address = parse_url(url, REDIS_SCHEMES, several_hosts=sentinel, host_needed=not unix)
    allowed = (*_REDIS_OPTIONS, *(_SENTINEL_OPTIONS if sentinel else ()))
    if not set(address.query) <= set(allowed):
        raise Mistake(f"has an option after ? that is none of {', '.join(allowed)}")
    _check_redis_options(address)
    path = address.path.removeprefix("/")
    if unix:
        if address.hosts or not path:
            raise Mistake("must name a Unix socket by its absolute path: unix:///run/redis.sock")
        return address
    service, _, number = path.partition("/") if sentinel else ("", "", path)
    if sentinel and not service:
        raise Mistake("names no service; write redis+sentinel://host:26379,host:26379/service")
    if number and not _is_number(number):
        raise Mistake("must end with the number of a Redis database, for example /0")
    return replace(address, scheme=REDIS_SCHEMES[address.scheme], path=path)


def redis_location(address: Address) -> str:
    """Return the URL of a parsed address in the form that redis-py reads, Sentinel excepted."""
    user = quote(address.user or "", safe="")
    password = quote(address.password or "", safe="")
    userinfo = f"{user}:{password}@" if user or password else ""
    hosts = ",".join(bracketed(host) + (f":{port}" if port else "") for host, port in address.hosts)
    path = quote(address.path if address.path.startswith("/") else f"/{address.path}")
    query = f"?{urlencode(address.query)}" if address.query else ""
    return f"{address.scheme}://{userinfo}{hosts}{path}{query}"


def parse_mail_url(url: str) -> Address:
    """Return the parts of a mail server's URL."""
    address = parse_url(url, ("smtp", "smtps"))
    if address.path.strip("/") or address.query:
        raise Mistake("must end with the host or the port: smtp://user:password@mail.example:587")
    if (address.user is None) != (address.password is None):
        raise Mistake("needs both a user name and a password, or neither")
    if not f"{address.user}{address.password}".isascii():
        raise Mistake("has a user name or a password that is not ASCII, which SMTP cannot send")
    return address


def parse_proxy_url(url: str) -> Address:
    """Return the parts of an HTTP proxy's URL."""
    address = parse_url(url, ("http", "https"))
    if address.path.strip("/") or address.query:
        raise Mistake("must end with the host or the port: http://user:password@proxy.example:3128")
    if ":" in (address.user or ""):
        raise Mistake("has a user name with a colon, which HTTP cannot send")
    return address


def parse_public_url(url: str) -> str:
    """Return the origin (RFC 6454 §6.2) of a URL: lower case, without a default port.

    Maru is served at the root of its address.
    """
    address = parse_url(url, ("https", "http"))
    if address.user is not None or address.password is not None:
        raise Mistake("must not contain a user name or a password: https://chat.example.com")
    if address.path.strip("/") or address.query or "?" in url:
        raise Mistake("must end with the host or the port: https://chat.example.com")
    port = "" if address.port in {None, _DEFAULT_PORTS[address.scheme]} else f":{address.port}"
    return f"{address.scheme}://{bracketed(address.host)}{port}"


def parse_issuer(url: str) -> str:
    """Return an issuer. It sends tokens, so http is allowed only on this machine."""
    address = parse_url(url, ("https", "http"))
    if address.scheme == "http" and address.host not in _LOOPBACK:
        raise Mistake("must begin with https://")
    if address.user is not None or address.password is not None or "?" in url:
        raise Mistake("must be the address of the issuer, without a user name, ? or #")
    return url


def _check_redis_options(address: Address) -> None:
    options = address.query
    if not _is_number(options.get("db", "0")):
        raise Mistake("needs a number as its option db")
    if options.get("ssl_cert_reqs", "required") not in _CERT_REQS:
        raise Mistake(f"needs one of {', '.join(_CERT_REQS)} as its option ssl_cert_reqs")
    if options.get("ssl_check_hostname", "true").lower() not in {"true", "false"}:
        raise Mistake("needs true or false as its option ssl_check_hostname")
    tls = REDIS_SCHEMES[address.scheme].startswith("rediss")
    if not tls and any(name.startswith("ssl_") for name in options):
        raise Mistake("has options of TLS; begin it with rediss://")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6
