"""The environment: every mistake is reported at once, and no secret is printed."""

import json
import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import SecretStr

from maru.config import env
from maru.config.env import Env
from maru.config.secret_files import SUFFIX
from tests.live import ROOT
from tests.maru.server.starting import MANAGE, SERVER, failed_start

MISTAKES = {
    "MARU_PORT": "eighty",
    "MARU_PUBLIC_URL": "chat.example.com",
    "MARU_SECRET_KEY": "CANARY-short",
    "MARU_DATABASE_URL": "mysql://CANARY-user@db/maru",
    "MARU_REDIS_URL": "CANARY-redis:6379",
    "MARU_EMAIL_URL": "CANARY-mail",
    "MARU_SIGNUP": "all",
    "MARU_TRUSTED_PROXIES": "10.0.0.0/8,the-proxy",
    "MARU_EGRESS_ALLOW": "localhost",
    "MARU_RUN_SECONDS": "0",
    "MARU_RUN_CONCURRENCY": "many",
    "MARU_RATE_LIMITS": "no",
    "MARU_LOG_LEVEL": "LOUD",
}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test without a `.env` file and without MARU_ variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MARU_DATA_DIR")
    monkeypatch.delenv("MARU_RATE_LIMITS")


def set_all(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("command", [SERVER, MANAGE], ids=["server", "manage"])
def test_every_mistake_is_reported_and_the_exit_status_is_2(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    failed = failed_start(tmp_path, *command, **MISTAKES)

    assert failed.status == 2
    assert sorted(re.findall(r"^  (MARU_\w+):", failed.stderr, re.MULTILINE)) == sorted(MISTAKES)
    assert "Traceback" not in failed.stderr
    assert "CANARY" not in failed.stderr
    assert failed.stdout == ""


def test_correct_settings_are_not_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_all(monkeypatch, {"MARU_PORT": "70000", "MARU_HOST": "0.0.0.0", "MARU_RUN_SECONDS": "5"})

    with pytest.raises(SystemExit) as ended:
        env.load()

    assert ended.value.code == 2
    assert re.findall("MARU_[A-Z_]+", capsys.readouterr().err) == ["MARU_PORT"]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"MARU_REDIS_URL": "redis://r"}, {"MARU_DATABASE_URL", "MARU_SECRET_KEY"}),
        ({"MARU_DATABASE_URL": "postgres://p/maru"}, {"MARU_REDIS_URL"}),
        (
            {"MARU_DATABASE_URL": "postgres://p/maru", "MARU_REDIS_URL": "redis://r"},
            {"MARU_SECRET_KEY"},
        ),
    ],
)
def test_incomplete_production_profile_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, str],
    missing: set[str],
) -> None:
    set_all(monkeypatch, given)

    with pytest.raises(SystemExit):
        env.load()

    named = re.findall(r"^  (MARU_\w+):", capsys.readouterr().err, re.MULTILINE)
    assert set(named) == missing


def test_empty_environment_is_the_embedded_profile() -> None:
    loaded = env.load()

    assert loaded.embedded
    assert (loaded.host, loaded.port) == ("127.0.0.1", 8000)


def test_secrets_are_hidden_in_every_representation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = {
        "MARU_SECRET_KEY": "CANARY" * 8,
        "MARU_SECRET_KEY_FALLBACKS": "CANARY-1,CANARY-2",
        "MARU_DATABASE_URL": "postgres://u:CANARY@host/maru",
        "MARU_REDIS_URL": "redis://:CANARY@host/0",
        "MARU_EMAIL_URL": "smtp://u:CANARY@host",
    }
    set_all(monkeypatch, secrets)

    loaded = env.load()

    assert "CANARY" not in f"{loaded!r} {loaded} {loaded.model_dump()}"
    keys = [key.get_secret_value() for key in loaded.secret_key_fallbacks]
    assert keys == ["CANARY-1", "CANARY-2"]


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(
        monkeypatch,
        {
            "MARU_EGRESS_ALLOW": " Localhost:11434, 10.0.0.5:8080,",
            "MARU_TRUSTED_PROXIES": "10.1.2.3/8, ::1",
        },
    )

    loaded = env.load()

    assert loaded.egress_allow == ("localhost:11434", "10.0.0.5:8080")
    assert [*map(ip_network, loaded.trusted_proxies)] == [
        ip_network("10.0.0.0/8"),
        ip_network("::1/128"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://chat.example.com", "https://chat.example.com"),
        ("https://chat.example.com/", "https://chat.example.com"),
        ("http://10.0.0.5:8000//", "http://10.0.0.5:8000"),
        ("https://chat.example.com/maru", None),
        ("https://chat.example.com?x=1", None),
        ("https://", None),
    ],
)
def test_public_url_is_a_scheme_a_host_and_a_port(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: str | None
) -> None:
    monkeypatch.setenv("MARU_PUBLIC_URL", value)

    if expected is None:
        with pytest.raises(SystemExit):
            env.load()
    else:
        assert env.load().public_url == expected


SECRETS = [name for name, field in Env.model_fields.items() if "SecretStr" in str(field.annotation)]
VALUES = {
    "secret_key": "CANARY" * 8,
    "secret_key_fallbacks": "CANARY",
    "database_url": "postgresql://u:CANARY@host/maru",
    "redis_url": "redis://:CANARY@host/0",
    "email_url": "smtp://u:CANARY@host",
    "egress_proxy": "http://u:CANARY@host",
    "oidc_client_secret": "CANARY",
}


def plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_can_be_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    others = {"database_url", "redis_url", "secret_key"} - {name}
    set_all(monkeypatch, {f"MARU_{other.upper()}": VALUES[other] for other in others})
    (tmp_path / "secret").write_text(f"{VALUES[name]}\n")
    monkeypatch.setenv(f"MARU_{name.upper()}_FILE", "secret")

    loaded = getattr(env.load(), name)

    first = loaded[0] if isinstance(loaded, tuple) else loaded
    assert plain(first) == VALUES[name]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("content", [None, b"", b" \n", b"CANARY\xff", b"CANARY" * 20_000])
def test_secret_file_that_cannot_be_used_is_one_mistake(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
) -> None:
    others = {"database_url", "redis_url", "secret_key"} - {name}
    set_all(monkeypatch, {f"MARU_{other.upper()}": VALUES[other] for other in others})
    monkeypatch.setenv(f"MARU_{name.upper()}_FILE", "secret")
    if content is not None:
        (tmp_path / "secret").write_bytes(content)

    with pytest.raises(SystemExit) as ended:
        env.load()

    output = capsys.readouterr().err
    assert ended.value.code == 2
    assert re.findall(r"^  (MARU_\w+):", output, re.MULTILINE) == [f"MARU_{name.upper()}_FILE"]
    assert "CANARY" not in output


def test_secret_that_is_given_twice_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("CANARY" * 8)
    set_all(monkeypatch, {"MARU_SECRET_KEY": "CANARY" * 8, "MARU_SECRET_KEY_FILE": "secret"})

    with pytest.raises(SystemExit):
        env.load()

    assert "MARU_SECRET_KEY_FILE: is set, and so is MARU_SECRET_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(Env.model_fields))
def test_setting_with_bytes_that_are_not_utf8_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv(f"MARU_{name.upper()}", "CANARY\udcff" * 8)

    with pytest.raises(SystemExit) as ended:
        env.load()

    assert ended.value.code == 2
    assert "CANARY" not in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"MARU_PORT=\xff", None])
def test_dotenv_file_that_cannot_be_read_is_a_mistake(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
) -> None:
    if content is None:
        monkeypatch.setattr(Path, "open", _refuse)
        monkeypatch.setattr("builtins.open", _refuse)
    (tmp_path / ".env").touch()
    if content:
        (tmp_path / ".env").write_bytes(content)

    with pytest.raises(SystemExit) as ended:
        env.load()

    assert ended.value.code == 2
    assert ".env: cannot be read" in capsys.readouterr().err


def _refuse(*args: object, **kwargs: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_mistakes_are_json_lines_if_the_log_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_all(monkeypatch, {"MARU_LOG_FORMAT": "json", "MARU_PORT": "x", "MARU_SIGNUP": "x"})

    with pytest.raises(SystemExit):
        env.load()

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"].partition(":")[0] for line in lines] == ["MARU_PORT", "MARU_SIGNUP"]


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"MARU_PORT": "", "MARU_REDIS_URL": "", "MARU_METRICS_ALLOW": ""})

    assert env.load() == Env()
    assert env.load().metrics_allow == ("127.0.0.0/8", "::1/128")


def test_environment_takes_precedence_over_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("MARU_PORT=8100\nMARU_RUN_SECONDS=60\nOTHER=1\n")
    monkeypatch.setenv("MARU_PORT", "8200")

    loaded = env.load()

    assert (loaded.port, loaded.run_seconds) == (8200, 60)


def test_example_file_is_generated_from_the_settings() -> None:
    assert (ROOT / ".env.example").read_text() == env.example(), "run `make env-example`"


def test_example_lists_every_setting_with_its_default(tmp_path: Path) -> None:
    defaults = Env()
    uncommented = re.sub(r"^#(MARU_)", r"\1", env.example(), flags=re.MULTILINE)
    assert uncommented.count("\nMARU_") == len(Env.model_fields)

    (tmp_path / ".env").write_text(uncommented)

    assert env.load() == defaults


def unused_settings(sources: str) -> set[str]:
    used = set(re.findall(r"\b(?:env|ENV|load\(\))\.([a-z_]+)", sources))
    files = {name for name in Env.model_fields if name.endswith(SUFFIX)}  # read by `read_files`
    return set(Env.model_fields) - used - files


def test_every_setting_is_used() -> None:
    modules = [path for path in (ROOT / "platform").rglob("*.py") if path.name != "env.py"]

    assert unused_settings("\n".join(path.read_text() for path in modules)) == set()


def test_unused_setting_is_found() -> None:
    every = " ".join(f"ENV.{name}" for name in Env.model_fields if name != "port")

    assert unused_settings(every) == {"port"}
