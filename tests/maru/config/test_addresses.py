"""Addresses in the settings: each value works, or is refused in one sentence without the value.

Every mutation of every valid address is loaded. `CANARY` marks each part that may be secret.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import redis
from psycopg.conninfo import conninfo_to_dict

from maru.config import backends, env
from maru.config.addresses import Mistake
from maru.config.env import Env
from maru.config.service_urls import (
    parse_database_url,
    parse_mail_url,
    parse_public_url,
    parse_redis_url,
    redis_location,
)
from tests.maru.server.starting import MANAGE, SERVER, failed_start

KEY = "CANARY" * 8
PRODUCTION = {
    "MARU_DATABASE_URL": "postgresql://maru:CANARY@db:5432/maru",
    "MARU_REDIS_URL": "redis://:CANARY@redis:6379/0",
    "MARU_SECRET_KEY": KEY,
}

URLS: Final = {
    "MARU_DATABASE_URL": [
        "postgresql://maru:CANARY@db.example:5432/maru",
        "postgres://maru@[::1]:5432/maru?sslmode=require",
    ],
    "MARU_REDIS_URL": [
        "redis://:CANARY@redis.example:6379/0",
        "rediss://maru:CANARY@redis.example:6379/0?ssl_cert_reqs=none",
        "valkey://maru:CANARY@10.0.0.5:6379/0",
        "redis+sentinel://:CANARY@s1.example:26379,s2.example:26379/maru/0",
    ],
    "MARU_EMAIL_URL": [
        "smtp://robot:CANARY@mail.example:587",
        "smtps://robot:CANARY@[fd00::5]:465",
    ],
    "MARU_EGRESS_PROXY": [
        "http://maru:CANARY@proxy.example:3128",
        "https://maru:CANARY@[fd00::5]",
    ],
    "MARU_PUBLIC_URL": ["https://chat.example.com:8443", "http://[::1]:8000"],
    "MARU_OIDC_ISSUER": ["https://id.example.com:443/realms/maru"],
}
PLAIN: Final = {
    "MARU_HOST": ["127.0.0.1", "::1", "unix:/run/maru.sock"],
    "MARU_HOSTS": ["10.0.0.5,.example.org", "[::1]"],
    "MARU_EGRESS_ALLOW": ["llm.example:8080,[fd00::5]:443"],
    "MARU_TRUSTED_PROXIES": ["10.0.0.0/8,::1"],
    "MARU_METRICS_ALLOW": ["10.0.0.8"],
    "MARU_EMAIL_FROM": ["Maru <maru@chat.example.com>"],
    "MARU_PORT": ["8000"],
}

HOSTS: Final = (
    "", "*", "*.example", "a,b", "CANARY host", "CANARYé.example", "한글.example", "[::1", "::1]",
    "::1", "[]", "[CANARY]", "[::1]CANARY", "256.1.1.1", "1.2.3", "10.0.0.5/8", "-a", "a..b", ".",
    "c" * 64, "c." * 150, "CANARY@CANARY", "https://CANARY", "user:CANARY", "\\CANARY", "%zz",
    "%00",
)  # fmt: skip
PORTS: Final = ("", "CANARY", "0", "70000", "65536", "-1", "+80", "８０", "1e3", "80 ", "9" * 5000)
PASSWORDS: Final = (
    *(f"CAN{character}ARY" for character in "#/?[]@%: \t\n\0é한🔑\\'\"&=+;,<>{}|^`~!$()*"),
    "CANARY%00", "CANARY%FF", "CANARY%2", "CANARY%zz", "#CANARY", "CANARY#", "CANARY/0", "1#CANARY",
    "CANARY@[::1]:80/", "CANARY\x1b[0m", "CANARY\udcff", "80/CANARY", "[CANARY]", "CANARY" * 900,
)  # fmt: skip
SCHEMES: Final = ("", "http", "HTTPS", "CANARY", "javascript", "mysql", "POSTGRESQL", "Redis", "//")
ENDS: Final = (
    "/CANARY/CANARY", "?CANARY", "?CANARY=CANARY", "?a=1&a=2", "?", "#CANARY", "#", " CANARY", "/",
    "//", "/한", ",CANARY", "?sslmode=CANARY", "?db=CANARY", "?host=*", "/%00", "/%FF", "?x=%FF",
    "?x=%0", "?options=CANARY'", "?ssl_cert_reqs=CANARY", "?port=CANARY", "?password=CANARY",
)  # fmt: skip
WHOLE: Final = (
    "", " ", "\t", "CANARY", "://", "//CANARY", ":", "@", "#CANARY", "[", "CANARY:", ":CANARY",
    "한글", "None", "null", "true", "[]", "{}", '"CANARY"', "'CANARY", "$CANARY", "CANARY\x00", ",",
    ",,,", "CANARY,CANARY", "\ufeffCANARY", "\u202eCANARY", "\udcff", "C" * 100_000,
)  # fmt: skip


def url_mutations(url: str) -> Iterator[str]:
    """Yield the URL with one part replaced by each wrong or unusual value of its kind."""
    scheme, userinfo, host, port, rest = _parts(url)
    prefix = f"{userinfo}@" if userinfo else ""
    yield from (f"{scheme}://{prefix}{wrong}:{port}{rest}" for wrong in HOSTS)
    yield from (f"{scheme}://{prefix}{host}:{wrong}{rest}" for wrong in PORTS)
    yield from (f"{wrong}://{prefix}{host}:{port}{rest}" for wrong in SCHEMES)
    yield from (url + wrong for wrong in ENDS)
    yield from (f"{scheme}://{prefix}{host}:{port}{wrong}" for wrong in ENDS)
    yield f"{scheme}://{prefix}{host}:{port}"
    yield f"{scheme}://{host}{rest}"
    yield f"{scheme}://"
    yield from (url[:cut] for cut in range(0, len(url), 3))
    yield from WHOLE


def userinfo_mutations(url: str) -> Iterator[str]:
    scheme, _userinfo, host, port, rest = _parts(url)
    for wrong in PASSWORDS:
        yield f"{scheme}://maru:{wrong}@{host}:{port}{rest}"
        yield f"{scheme}://{wrong}:CANARY@{host}:{port}{rest}"
        yield f"{scheme}://maru:{quote(wrong, safe='', errors='replace')}@{host}:{port}{rest}"


def plain_mutations(value: str) -> Iterator[str]:
    yield from (f"{value},{wrong}" for wrong in (*HOSTS, *PORTS))
    yield from HOSTS
    yield from (f"{wrong}:80" for wrong in HOSTS)
    yield from (f"host.example:{wrong}" for wrong in PORTS)
    yield from (value + wrong for wrong in ENDS)
    yield from (f"{scheme}://{value}" for scheme in SCHEMES)
    yield from (f"unix:{path}" for path in ("", "CANARY", "/", "/CANARY/", "/" + "c" * 200))
    yield from WHOLE


def _parts(url: str) -> tuple[str, str, str, str, str]:
    found = re.fullmatch(r"([^:]+)://(?:([^@]*)@)?(.*):(\d+)(.*)", url)
    assert found is not None, url
    scheme, userinfo, host, port, rest = found.groups()
    return scheme, userinfo or "", host, port, rest


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test without a `.env` file and without MARU_ variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MARU_DATA_DIR")
    monkeypatch.delenv("MARU_RATE_LIMITS")


def use_every_setting(loaded: Env) -> None:
    """Build every part of the Django settings that contains an address."""
    backends.allowed_hosts(loaded)
    for build in (backends.database, backends.channel_layer, backends.cache, backends.mail):
        build(loaded)


def outcome(capsys: pytest.CaptureFixture[str]) -> list[str] | None:
    """Load the settings: None if they work, or the sentences under which the process ends."""
    try:
        loaded = env.load()
    except SystemExit as ended:
        status = ended.code
    else:
        use_every_setting(loaded)
        return None
    output = capsys.readouterr()
    head, *mistakes, tail = output.err.splitlines()
    assert (status, output.out) == (2, "")
    assert head == "Maru cannot start with these settings:"
    assert tail.startswith("Correct them ")
    return mistakes


@pytest.mark.parametrize("name", [*URLS, *PLAIN])
def test_every_mutation_of_an_address_works_or_is_refused_in_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        **PRODUCTION,
        "MARU_OIDC_CLIENT_ID": "maru",
        "MARU_PUBLIC_URL": URLS["MARU_PUBLIC_URL"][0],
    }
    values = [
        *(mutation for url in URLS.get(name, ()) for mutation in (url, *url_mutations(url))),
        *(mutation for url in URLS.get(name, ())[:1] for mutation in userinfo_mutations(url)),
        *(mutation for text in PLAIN.get(name, ()) for mutation in (text, *plain_mutations(text))),
    ]
    refused = 0
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)

    for value in dict.fromkeys(values):
        if "\0" in value:
            continue  # no environment can hold it
        monkeypatch.setenv(name, value)
        mistakes = outcome(capsys)

        if mistakes is not None:
            refused += 1
            assert mistakes, value
            named = [line for line in mistakes if line.startswith(f"  {name}: ")]
            assert named, (value, mistakes)
            assert all(re.fullmatch(r"  MARU_\w+: [ -~…§]{8,300}\.", line) for line in mistakes)
            assert not any("CAN" in line or "ARY" in line for line in mistakes), (value, mistakes)
    assert refused > 20


def test_mutations_contain_every_reported_mistake() -> None:
    made = {one for urls in URLS.values() for url in urls for one in url_mutations(url)}
    made |= {one for urls in URLS.values() for one in userinfo_mutations(urls[0])}

    assert "postgresql://maru:CAN#ARY@db.example:5432/maru" in made
    assert "postgresql://maru:CANARY@db.example:CANARY/maru" in made
    assert "smtp://robot:CANARY@a,b:587" in made
    assert "*:80" in set(plain_mutations("llm:80"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MARU_EGRESS_ALLOW", "http://llm:8080"),
        ("MARU_EGRESS_ALLOW", "*:80"),
        ("MARU_EGRESS_ALLOW", "llm:0"),
        ("MARU_EMAIL_URL", "smtp://robot:sec#ret@mail.example:587"),
        ("MARU_EMAIL_URL", "smtp://robot@mail.example:587"),
        ("MARU_DATABASE_URL", "postgresql://maru:s#x@db:5432/maru"),
        ("MARU_DATABASE_URL", "postgresql://maru:s/x@db:5432/maru"),
        ("MARU_DATABASE_URL", "postgresql://maru:s?x@db:5432/maru"),
        ("MARU_DATABASE_URL", "postgresql://maru:s[x@db:5432/maru"),
        ("MARU_DATABASE_URL", "postgresql://maru:x@db:5432"),
        ("MARU_DATABASE_URL", "postgresql://maru:x@db1,db2/maru"),
        ("MARU_REDIS_URL", "redis://::1:6379/0"),
        ("MARU_REDIS_URL", "redis://redis:70000/0"),
        ("MARU_PUBLIC_URL", "https://user:x@chat.example.com"),
        ("MARU_PUBLIC_URL", "https://*.example.com"),
        ("MARU_HOST", "127.0.0.1,10.0.0.5"),
        ("MARU_HOST", "*"),
        ("MARU_HOSTS", "https://chat.example.com"),
        ("MARU_EMAIL_FROM", "Maru"),
    ],
)
def test_impossible_address_is_one_mistake(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, valid in {**PRODUCTION, name: value}.items():
        monkeypatch.setenv(variable, valid)

    mistakes = outcome(capsys)

    assert mistakes is not None
    assert len(mistakes) == 1
    assert mistakes[0].startswith(f"  {name}: ")


@pytest.mark.parametrize("character", "#/?[")
@pytest.mark.parametrize("name", ["MARU_DATABASE_URL", "MARU_EMAIL_URL", "MARU_REDIS_URL"])
def test_reserved_character_in_a_password_is_explained(
    name: str, character: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = URLS[name][0].replace("CANARY", f"CAN{character}ARY")
    for variable, value in {**PRODUCTION, name: url}.items():
        monkeypatch.setenv(variable, value)

    (mistake,) = outcome(capsys) or []

    assert all(written in mistake for written in ("%23", "%2F", "%3F", "%5B"))


@pytest.mark.parametrize("command", [SERVER, MANAGE], ids=["server", "manage"])
def test_process_with_a_wrong_password_character_prints_no_piece_of_it(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    wrong = "postgresql://maru:CAN#ARY@db:5432/maru"
    failed = failed_start(tmp_path, *command, **{**PRODUCTION, "MARU_DATABASE_URL": wrong})

    assert failed.status == 2
    assert failed.stderr.count("MARU_DATABASE_URL: ") == 1
    assert not re.search("Traceback|CAN|ARY", failed.stderr + failed.stdout)


PASSWORDS_THAT_ARE_ENCODED: Final = ("a#b", "a/b", "a?b", "a[b]", "a@b", "a%b", "a:b", "é한", " x ")


@pytest.mark.parametrize("password", PASSWORDS_THAT_ARE_ENCODED)
def test_libpq_and_redis_read_the_same_parts_of_a_url(password: str) -> None:
    written = quote(password, safe="")
    database = f"postgresql://maru:{written}@[::1]:5433/ma%2Fru?sslmode=disable"
    cache = f"valkeys://maru:{written}@Redis.example:6380/3?ssl_cert_reqs=none"

    ours, theirs = parse_database_url(database), conninfo_to_dict(database)
    at_redis = redis.ConnectionPool.from_url(redis_location(parse_redis_url(cache)))

    assert theirs == {
        "user": ours.user,
        "password": ours.password,
        "host": ours.host,
        "port": str(ours.port),
        "dbname": ours.path,
        "sslmode": "disable",
    }
    options = at_redis.connection_kwargs
    assert ours.password == options["password"] == password
    assert (options["host"], options["port"], options["db"]) == ("redis.example", 6380, 3)
    assert at_redis.connection_class is redis.SSLConnection


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://chat.example.com:443", "https://chat.example.com"),
        ("http://chat.example.com:80/", "http://chat.example.com"),
        ("HTTPS://Chat.Example.COM", "https://chat.example.com"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://[0:0::1]", "https://[::1]"),
    ],
)
def test_public_url_is_normalized_as_a_browser_writes_an_origin(url: str, origin: str) -> None:
    assert parse_public_url(url) == origin


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql:///maru?host=/var/run/postgresql", "maru"),
        ("postgresql://%2Fvar%2Frun/maru", None),
        ("postgresql://db?dbname=maru", ""),
    ],
)
def test_database_may_be_named_as_libpq_allows(url: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(Mistake):
            parse_database_url(url)
    else:
        assert parse_database_url(url).path == name


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("smtp://relay.example:587", (587, False, False)),
        ("smtp://relay.example", (587, False, False)),
        ("smtp://u:p@mail.example:2525", (2525, True, False)),
        ("smtps://u:p@mail.example", (465, False, True)),
    ],
)
def test_mail_with_a_password_is_always_encrypted(
    monkeypatch: pytest.MonkeyPatch, url: str, parts: tuple[int, bool, bool]
) -> None:
    assert parse_mail_url(url).host.endswith(".example")
    monkeypatch.setenv("MARU_EMAIL_URL", url)

    mail: dict[str, Any] = backends.mail(env.load())

    assert (mail["EMAIL_PORT"], mail["EMAIL_USE_TLS"], mail["EMAIL_USE_SSL"]) == parts


@pytest.mark.parametrize(
    ("host", "accepted"),
    [("[::1]", "[::1]"), ("::1", "[::1]"), ("Chat.Example.org", "chat.example.org")],
)
def test_hosts_are_normalized_as_django_compares_them(
    monkeypatch: pytest.MonkeyPatch, host: str, accepted: str
) -> None:
    monkeypatch.setenv("MARU_HOSTS", host)

    assert accepted in backends.allowed_hosts(env.load())
