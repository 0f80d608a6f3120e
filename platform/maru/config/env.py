"""Every setting of Maru (`MARU_…`): name, type, default and description.

`maru.settings` reads only this class; `.env.example` is generated from it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from maru.config import terminal
from maru.config.addresses import (
    UNIX,
    Mistake,
    parse_allowed_host,
    parse_egress_entry,
    parse_host,
    parse_listen_address,
    parse_network,
)
from maru.config.secret_files import SUFFIX, read_files
from maru.config.secret_key import SHORTEST_KEY
from maru.config.service_urls import (
    parse_database_url,
    parse_issuer,
    parse_mail_url,
    parse_proxy_url,
    parse_public_url,
    parse_redis_url,
)

PREFIX = "MARU_"


def _split(words: object) -> object:
    """Split a list in the form `a,b,c`; pydantic-settings would expect JSON."""
    if isinstance(words, str):
        return tuple(word.strip() for word in words.split(",") if word.strip())
    return words


def _address(parse: Callable[[str], str]) -> AfterValidator:
    """Replace an address by its normal form."""
    return AfterValidator(lambda text: None if text is None else parse(text.strip()))


def _secret_url(parse: Callable[[str], object]) -> AfterValidator:
    """Check a URL that may contain a password; its scheme becomes lower case."""

    def check(url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        text = url.get_secret_value().strip()
        parse(text)
        scheme, separator, rest = text.partition("://")
        return SecretStr(scheme.lower() + separator + rest)

    return AfterValidator(check)


def _sender(text: str) -> str:
    """Require one mail address, with or without a name (RFC 5322 §3.4)."""
    _name, address = parseaddr(text)
    host = address.rpartition("@")[2]
    if not text.isprintable() or address.count("@") != 1 or not address.isascii():
        raise Mistake("must be a mail address: Maru <maru@chat.example.com>")
    parse_host(host)
    return text


def _long_key(key: SecretStr | None) -> SecretStr | None:
    if key is not None and len(key.get_secret_value()) < SHORTEST_KEY:
        raise Mistake(f"must have at least {SHORTEST_KEY} characters")
    return key


def _tool(path: str) -> str:
    """Require the path of a class: `package.module:Class`."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", path) or len(path) > 200:
        raise Mistake("must be a list of classes: package.module:Class,package.module:Class")
    return path


def _file_of(name: str) -> Any:  # Any: the type that pydantic gives to `Field`
    return Field(None, description=f"file whose text is the value of {PREFIX}{name.upper()}")


Networks = Annotated[
    tuple[Annotated[str, AfterValidator(parse_network)], ...], NoDecode, BeforeValidator(_split)
]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]


class Env(BaseSettings):
    """The environment variables and the `.env` file of the working folder, read once at start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    host: Annotated[str, _address(parse_listen_address)] = Field(
        "127.0.0.1",
        description="address that the web process listens on, or unix:/run/maru/web.sock",
    )
    port: int = Field(8000, ge=0, le=65535, description="port that the web process listens on")
    public_url: Annotated[str | None, _address(parse_public_url)] = Field(
        None, description="address that people type, e.g. https://chat.example.com"
    )
    hosts: Annotated[
        tuple[Annotated[str, AfterValidator(parse_allowed_host)], ...],
        NoDecode,
        BeforeValidator(_split),
    ] = Field(
        (), description="further host names and addresses that web processes accept: 10.0.0.5"
    )
    data_dir: Path = Field(
        Path("var"),
        description="data folder. Embedded: the database and the secret key; "
        "production: the collected static files",
    )
    secret_key: Annotated[SecretStr | None, AfterValidator(_long_key)] = Field(
        None,
        description="signs sessions and encrypts provider keys; embedded: made at the first start",
    )
    secret_key_file: Path | None = _file_of("secret_key")
    secret_key_fallbacks: Secrets = Field(
        (), description="older secret keys, still accepted while a new one is rolled out"
    )
    secret_key_fallbacks_file: Path | None = _file_of("secret_key_fallbacks")
    database_url: Annotated[SecretStr | None, _secret_url(parse_database_url)] = Field(
        None, description="postgresql://user:password@host/name; absent: SQLite in the data folder"
    )
    database_url_file: Path | None = _file_of("database_url")
    redis_url: Annotated[SecretStr | None, _secret_url(parse_redis_url)] = Field(
        None,
        description="redis://host:6379/0, valkey://…, rediss://… (TLS) or "
        "redis+sentinel://host:26379,host:26379/service; absent: the embedded profile, one process",
    )
    redis_url_file: Path | None = _file_of("redis_url")
    email_url: Annotated[SecretStr | None, _secret_url(parse_mail_url)] = Field(
        None,
        description="smtp://user:password@host:587 (STARTTLS) or smtps://…; "
        "absent: mail is printed to the log",
    )
    email_url_file: Path | None = _file_of("email_url")
    email_from: Annotated[str, AfterValidator(_sender)] = Field(
        "Maru <maru@localhost>", description="sender of Maru's mail"
    )
    signup: Literal["invitation", "open"] = Field(
        "invitation", description="who may create an account: invited people only, or anyone"
    )
    oidc_issuer: Annotated[str | None, _address(parse_issuer)] = Field(
        None, description="OpenID Connect provider that people may sign in through: https://…"
    )
    oidc_client_id: str = Field("", description="client id of Maru at that provider")
    oidc_client_secret: SecretStr | None = Field(
        None, description="client secret of Maru at that provider"
    )
    oidc_client_secret_file: Path | None = _file_of("oidc_client_secret")
    oidc_name: str = Field("OpenID Connect", description="name on the button: Sign in with …")
    trusted_proxies: Networks = Field(
        (),
        description="networks whose X-Forwarded-For and -Proto headers are trusted: 10.0.0.0/8,…",
    )
    metrics_allow: Networks = Field(
        ("127.0.0.0/8", "::1/128"), description="networks that may read /metrics"
    )
    metrics_host: str = Field(
        "127.0.0.1", description="address on which a worker serves /metrics, /healthz and /readyz"
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="port of a worker for these paths: 9101; absent: none",
    )
    revision: str = Field(
        "", description="source revision that maru_build_info shows; the images set it"
    )
    egress_allow: Annotated[
        tuple[Annotated[str, AfterValidator(parse_egress_entry)], ...],
        NoDecode,
        BeforeValidator(_split),
    ] = Field(
        (), description="private addresses that requests to model providers may reach: host:port,…"
    )
    egress_proxy: Annotated[SecretStr | None, _secret_url(parse_proxy_url)] = Field(
        None,
        description="HTTP proxy for requests to model providers: http://user:password@proxy:3128; "
        "it must allow CONNECT to IP addresses",
    )
    egress_proxy_file: Path | None = _file_of("egress_proxy")
    tools: Annotated[
        tuple[Annotated[str, AfterValidator(_tool)], ...], NoDecode, BeforeValidator(_split)
    ] = Field(
        (),
        description="tools that personas can use beside Maru's own: installed classes on CrewAI's "
        "BaseTool, package.module:Class,…",
    )
    run_seconds: float = Field(
        300,
        gt=0,
        allow_inf_nan=False,
        description="time limit of one answer, in seconds of wall clock time",
    )
    run_concurrency: int = Field(
        25,
        ge=1,
        le=200,
        description="answers at once in one worker; 20 % more for teams that have none running",
    )
    approval_hours: float = Field(
        24,
        gt=0,
        le=24 * 30,
        allow_inf_nan=False,
        description="hours that people have to decide on a tool call, before it is denied",
    )
    run_characters: int = Field(200_000, ge=1, description="longest answer, in characters")
    run_tokens: int = Field(50_000, ge=1, description="longest answer, in tokens")
    runs_per_user: int = Field(
        25,
        ge=1,
        description="answers at once for one user in a team; the admin site can override it",
    )
    runs_per_room: int = Field(
        50, ge=1, description="answers at once in one room; can be overridden per team"
    )
    runs_per_team: int = Field(
        100, ge=1, description="answers at once in one team; can be overridden per team"
    )
    queued_per_user: int = Field(
        100,
        ge=1,
        description="queued and waiting answers of one user in a team; can be overridden per team",
    )
    queued_per_room: int = Field(
        300, ge=1, description="queued and waiting answers in one room; can be overridden per team"
    )
    queued_per_team: int = Field(
        1_000,
        ge=1,
        description="queued and waiting answers in one team; can be overridden per team",
    )
    answers_per_message: int = Field(
        8,
        ge=1,
        le=100,
        description="answers after one message, if personas ask each other in the room",
    )
    connections: int = Field(
        10_000,
        ge=10,
        description="connections at once in one web process; fewer if the limit of open files "
        "does not allow them",
    )
    connections_per_address: int = Field(
        1_000,
        ge=10,
        description="connections at once of one client address (IPv6: of one /64 network) in one "
        "web process; trusted proxies are exempt",
    )
    hsts: Literal["host", "subdomains", "preload"] = Field(
        "host",
        description="Strict-Transport-Security covers only the host of MARU_PUBLIC_URL, also its "
        "subdomains, or asks browsers to preload the whole domain",
    )
    rate_limits: Literal["on", "off"] = Field("on", description="off only for load tests")
    log_format: Literal["text", "json"] = Field("text", description="format of log lines")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="lowest level that is logged"
    )

    @property
    def embedded(self) -> bool:
        """Return True for the embedded profile: one process, SQLite and the in-memory layer."""
        return self.redis_url is None

    @model_validator(mode="wrap")
    @classmethod
    def _name_every_mistake(cls, values: dict[str, Any], handler: Callable[..., Any]) -> Any:
        """Report errors of single fields and of combinations of fields in one exception."""
        values, unreadable = read_files(values)
        no_text = [(name, "is not UTF-8") for name in values if not _is_utf8(values[name])]
        mistakes = [
            _mistake(name, text)
            for name, text in (*no_text, *unreadable, *_profile_mistakes(values))
        ]
        values = {name: value for name, value in values.items() if _is_utf8(value)}
        try:
            env = handler(values)
        except ValidationError as error:
            mistakes = [
                *(_mistake(str(e["loc"][0]), e["msg"]) for e in error.errors(include_input=False)),
                *mistakes,
            ]
        if mistakes:
            raise ValidationError.from_exception_data("settings", mistakes)
        return env


def _profile_mistakes(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each missing setting that another setting requires, with the reason."""
    given = {name.removesuffix(SUFFIX) for name in values}
    if "redis_url" in given and "database_url" not in given:
        yield "database_url", "is needed with MARU_REDIS_URL (or set neither: embedded)"
    if "database_url" in given and "redis_url" not in given:
        yield "redis_url", "is needed with MARU_DATABASE_URL (or set neither: embedded)"
    if str(values.get("host")).strip().startswith(UNIX) and "public_url" not in given:
        yield "host", "is a Unix socket, which needs MARU_PUBLIC_URL as well"
    if "oidc_issuer" in given and "oidc_client_id" not in given:
        yield "oidc_client_id", "is needed with MARU_OIDC_ISSUER"
    if "redis_url" in given and "secret_key" not in given:
        yield "secret_key", "is needed with MARU_REDIS_URL: every process must have the same one"


def _is_utf8(value: object) -> bool:
    """Return False for text from bytes that are not UTF-8, which Python reads as surrogates."""
    return not (isinstance(value, str) and re.search("[\ud800-\udfff]", value))


def _mistake(name: str, text: str) -> InitErrorDetails:
    """Return an error without the input, which may be a secret."""
    plain = text.removeprefix("Value error, ").replace("{", "{{").replace("}", "}}")
    return InitErrorDetails(type=PydanticCustomError("setting", plain), loc=(name,), input=None)


class _LogFormat(BaseSettings):
    """MARU_LOG_FORMAT alone, which must be known before the other settings are valid."""

    model_config = Env.model_config

    log_format: str = "text"


def load() -> Env:
    """Read the environment; print every mistake and exit with status 2 if there is any."""
    try:
        terminal.as_json = _LogFormat().log_format == "json"
        return Env()
    except ValidationError as error:
        _give_up(
            f"{PREFIX}{str(mistake['loc'][0]).upper()}: {mistake['msg']}."
            for mistake in error.errors(include_input=False, include_url=False)
        )
    except (OSError, UnicodeDecodeError):
        _give_up([".env: cannot be read, or is not UTF-8."])


def _give_up(mistakes: Iterable[str]) -> NoReturn:
    terminal.give_up(
        *mistakes,
        status=2,
        before="Maru cannot start with these settings:",
        after="Correct them in the environment or in .env; .env.example lists every setting.",
    )


def example() -> str:
    """Return the text of `.env.example`: every setting with its default, commented out."""
    lines = [
        "# Every setting of Maru, with its default. Copy to .env and uncomment what you change.",
        "# Made from platform/maru/config/env.py by `make env-example`.",
    ]
    for name, field in Env.model_fields.items():
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        lines += ["", f"# {field.description}", f"#{PREFIX}{name.upper()}={default or ''}"]
    return "\n".join(lines) + "\n"
