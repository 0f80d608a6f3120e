"""Every setting of Maru (`MARU_…`): name, type, default and description.

`maru.settings` reads only this class; `.env.example` is generated from it.
"""

import ipaddress
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import urlsplit

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

PREFIX = "MARU_"


def _split(words: object) -> object:
    """Split a list in the form `a,b,c`; pydantic-settings would expect JSON."""
    if isinstance(words, str):
        return tuple(word.strip() for word in words.split(",") if word.strip())
    return words


def _host_and_port(entry: str) -> str:
    host, _, port = entry.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("each entry is host:port")
    return f"{host.lower()}:{int(port)}"


def _network(entry: str) -> str:
    return str(ipaddress.ip_network(entry, strict=False))


def _begins_with(*schemes: str) -> Callable[[Any], Any]:
    def check(url: SecretStr | str | None) -> SecretStr | str | None:
        plain = url.get_secret_value() if isinstance(url, SecretStr) else url
        if plain and not plain.startswith(schemes):
            raise ValueError(f"must begin with {' or '.join(schemes)}")
        return url

    return check


def _origin(url: str | None) -> str | None:
    """Reject a URL with a path, query or fragment: Maru is served at the root of its address."""
    if url is None:
        return None
    parts = urlsplit(url.rstrip("/"))
    if parts.path or parts.query or parts.fragment or not parts.hostname:
        raise ValueError("must end with the host or the port: https://chat.example.com")
    return parts.geturl()


def _issuer(url: str | None) -> str | None:
    """Require https, because the issuer sends tokens; allow http only on this machine."""
    parts = urlsplit(url or "")
    if url and parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise ValueError("must begin with https://")
    return url


HostsAndPorts = Annotated[
    tuple[Annotated[str, AfterValidator(_host_and_port)], ...], NoDecode, BeforeValidator(_split)
]
Networks = Annotated[
    tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_split)
]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]


class Env(BaseSettings):
    """The environment variables and the `.env` file of the working folder, read once at start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    host: str = Field("127.0.0.1", description="address that the web process listens on")
    port: int = Field(8000, ge=0, le=65535, description="port that the web process listens on")
    public_url: Annotated[
        str | None, AfterValidator(_begins_with("http://", "https://")), AfterValidator(_origin)
    ] = Field(None, description="address that people type, e.g. https://chat.example.com")
    hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="further host names and addresses that web processes accept: 10.0.0.5"
    )
    data_dir: Path = Field(
        Path("var"),
        description="data folder. Embedded: the database and the secret key; "
        "production: the collected static files",
    )
    secret_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="signs sessions and encrypts provider keys; embedded: made at the first start",
    )
    secret_key_fallbacks: Secrets = Field(
        (), description="older secret keys, still accepted while a new one is rolled out"
    )
    database_url: Annotated[
        SecretStr | None, AfterValidator(_begins_with("postgres://", "postgresql://"))
    ] = Field(
        None, description="postgresql://user:password@host/name; absent: SQLite in the data folder"
    )
    redis_url: Annotated[
        SecretStr | None, AfterValidator(_begins_with("redis://", "rediss://", "unix://"))
    ] = Field(None, description="redis://host:6379/0; absent: the embedded profile, one process")
    email_url: Annotated[SecretStr | None, AfterValidator(_begins_with("smtp://", "smtps://"))] = (
        Field(None, description="smtp://user:password@host:587; absent: mail is printed to the log")
    )
    email_from: str = Field("Maru <maru@localhost>", description="sender of Maru's mail")
    signup: Literal["invitation", "open"] = Field(
        "invitation", description="who may create an account: invited people only, or anyone"
    )
    oidc_issuer: Annotated[str | None, AfterValidator(_issuer)] = Field(
        None, description="OpenID Connect provider that people may sign in through: https://…"
    )
    oidc_client_id: str = Field("", description="client id of Maru at that provider")
    oidc_client_secret: SecretStr | None = Field(
        None, description="client secret of Maru at that provider"
    )
    oidc_name: str = Field("OpenID Connect", description="name on the button: Sign in with …")
    trusted_proxies: Networks = Field(
        (),
        description="networks whose X-Forwarded-For and -Proto headers are trusted: 10.0.0.0/8,…",
    )
    metrics_allow: Networks = Field(
        ("127.0.0.0/8", "::1/128"), description="networks that may read /metrics"
    )
    egress_allow: HostsAndPorts = Field(
        (), description="private addresses that requests to model providers may reach: host:port,…"
    )
    run_seconds: float = Field(
        300, gt=0, description="time limit of one answer, in seconds of wall clock time"
    )
    run_concurrency: int = Field(
        25,
        ge=1,
        le=200,
        description="answers at once in one worker; 20 % more for teams that have none running",
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
        100, ge=1, description="queued answers of one user in a team; can be overridden per team"
    )
    queued_per_room: int = Field(
        300, ge=1, description="queued answers in one room; can be overridden per team"
    )
    queued_per_team: int = Field(
        1_000, ge=1, description="queued answers in one team; can be overridden per team"
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
        mistakes = [_mistake(name, text) for name, text in _profile_mistakes(values)]
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
    if "redis_url" in values and "database_url" not in values:
        yield "database_url", "is needed with MARU_REDIS_URL (or set neither: embedded)"
    if "database_url" in values and "redis_url" not in values:
        yield "redis_url", "is needed with MARU_DATABASE_URL (or set neither: embedded)"
    if "oidc_issuer" in values and "oidc_client_id" not in values:
        yield "oidc_client_id", "is needed with MARU_OIDC_ISSUER"
    if "redis_url" in values and "secret_key" not in values:
        yield "secret_key", "is needed with MARU_REDIS_URL: every process must have the same one"


def _mistake(name: str, text: str) -> InitErrorDetails:
    """Return an error without the input, which may be a secret."""
    plain = text.removeprefix("Value error, ").replace("{", "{{").replace("}", "}}")
    return InitErrorDetails(type=PydanticCustomError("setting", plain), loc=(name,), input=None)


def load() -> Env:
    """Read the environment; print every mistake and exit with status 2 if there is any."""
    try:
        return Env()
    except ValidationError as error:
        _give_up(error)


def _give_up(error: ValidationError) -> NoReturn:
    lines = ["Maru cannot start with these settings:"]
    for mistake in error.errors(include_input=False, include_url=False):
        name = str(mistake["loc"][0]).upper()
        lines.append(f"  {PREFIX}{name}: {mistake['msg']}")
    lines.append("Correct them in the environment or in .env; .env.example lists every setting.")
    print("\n".join(lines), file=sys.stderr)
    raise SystemExit(2)


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
