"""compose.yaml: services, networks, settings and shutdown."""

import os
import re
import stat
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from maru.config.env import PREFIX, Env
from maru.management.commands import runagents
from maru.server.process import DRAIN_SECONDS
from tests.codebase.test_layout import files
from tests.deploy.dockerfile import stages
from tests.live import ROOT

DEPLOY = ROOT / "deploy"
MARU = {"web-1", "web-2", "agents", "migrate"}
SPARE_SECONDS = 5

Service = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = compose["services"]
    return found


def test_every_service_is_defined(services: dict[str, Service]) -> None:
    assert {*services} == MARU | {"postgres", "redis", "proxy"}
    assert services["agents"]["deploy"]["replicas"] == 2


def test_images_have_versions_and_stages(services: dict[str, Service]) -> None:
    for name, service in services.items():
        tag = r"\d[\w.-]*(@sha256:[0-9a-f]{64})?|\$\{MARU_VERSION:-local\}"
        assert re.fullmatch(rf"[a-z-]+:({tag})", service["image"]), name
    built = {service["build"]["target"] for service in services.values() if "build" in service}
    assert built == {"web", "agents"} <= {*stages()}


def test_only_the_proxy_can_be_reached_from_outside(
    compose: dict[str, Any], services: dict[str, Service]
) -> None:
    published = {name for name, service in services.items() if "ports" in service}
    outward = {
        name
        for name in compose["networks"]
        if not (compose["networks"][name] or {}).get("internal")
    }

    assert published == {"proxy"}
    assert "network_mode" not in str(services)
    for name in ("postgres", "redis", "migrate"):
        assert not outward & {*services[name]["networks"]}, name


def test_proxy_and_web_processes_have_fixed_addresses(
    compose: dict[str, Any], services: dict[str, Service]
) -> None:
    network = ip_network(compose["networks"]["front"]["ipam"]["config"][0]["subnet"])
    address = {
        name: services[name]["networks"]["front"]["ipv4_address"]
        for name in ("proxy", "web-1", "web-2")
    }
    servers = re.findall(r"server ([\d.]+):8000 ", (DEPLOY / "nginx.conf").read_text())

    assert all(ip_address(found) in network for found in address.values())
    assert servers == [address["web-1"], address["web-2"]]
    for name in ("web-1", "web-2"):
        environment = services[name]["environment"]
        assert environment["MARU_TRUSTED_PROXIES"] == address["proxy"]
        assert address[name] in environment["MARU_HOSTS"].split(",")


def test_no_process_is_killed_before_its_drain_ends(services: dict[str, Service]) -> None:
    for name, drain in (
        ("web-1", DRAIN_SECONDS),
        ("web-2", DRAIN_SECONDS),
        ("agents", runagents.DRAIN_SECONDS),
    ):
        assert int(services[name]["stop_grace_period"].rstrip("s")) >= drain + SPARE_SECONDS, name


def test_long_running_services_restart_and_have_health_checks(services: dict[str, Service]) -> None:
    for name in services.keys() - {"migrate"}:
        assert services[name]["restart"] == "unless-stopped", name
    for name in ("postgres", "redis", "proxy"):
        assert services[name]["healthcheck"]["test"][0] == "CMD", name
    for name in ("web", "agents"):
        assert stages()[name].of("HEALTHCHECK")[0].rest.startswith("CMD"), name
    assert services["migrate"]["restart"] == "no"


def test_database_is_migrated_before_other_services_start(services: dict[str, Service]) -> None:
    for name in MARU - {"migrate"}:
        needs = services[name]["depends_on"]
        assert needs["migrate"]["condition"] == "service_completed_successfully", name
    assert services["migrate"]["command"] == ["python", "manage.py", "migrate"]


def test_containers_have_no_capabilities_no_root_and_a_read_only_root(
    services: dict[str, Service],
) -> None:
    users = {name: services[name].get("user") for name in services.keys() - MARU}

    assert users == {"postgres": "postgres", "redis": "redis", "proxy": "101:101"}
    assert {stages()[name].of("USER")[0].rest for name in ("web", "agents")} == {"10001:10001"}
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
    for name in MARU:
        assert services[name]["tmpfs"] == ["/tmp"], name


def test_every_setting_exists_and_none_is_a_secret(services: dict[str, Service]) -> None:
    known = {PREFIX + name.upper() for name in Env.model_fields}

    for name in MARU:
        assert {*services[name]["environment"]} <= known
        own = ["maru.env", {"path": "owner.env", "required": False}]
        assert services[name]["env_file"] == (own if name == "migrate" else "maru.env")
    assert not re.search(r"password|secret_key", (DEPLOY / "compose.yaml").read_text().lower())


@pytest.fixture
def created(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Run the script; return the settings that it creates, by file."""
    (tmp_path / "first_secrets.sh").write_text((DEPLOY / "first_secrets.sh").read_text())
    run_script(tmp_path)
    return {name: settings_in(tmp_path / name) for name in ("maru.env", "postgres.env")}


def run_script(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(folder / "first_secrets.sh"), "chat.example.com"],
        capture_output=True,
        text=True,
        check=False,
    )


def settings_in(path: Path) -> dict[str, str]:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = (line.partition("=") for line in path.read_text().splitlines() if line[0] != "#")
    return {name: value for name, _, value in lines}


def test_secrets_of_a_new_installation_match(
    created: dict[str, dict[str, str]], services: dict[str, Service]
) -> None:
    maru, postgres = created["maru.env"], created["postgres.env"]
    env = Env(**{name.removeprefix(PREFIX).lower(): value for name, value in maru.items()})  # type: ignore[arg-type]  # read from text, as from the environment

    assert env.database_url is not None
    assert env.database_url.get_secret_value() == (
        f"postgresql://maru:{postgres['MARU_DATABASE_PASSWORD']}@postgres/maru"
    )
    assert postgres["POSTGRES_USER"] == "postgres"
    assert postgres["POSTGRES_PASSWORD"] not in {postgres["MARU_DATABASE_PASSWORD"], ""}
    assert (
        "./postgres_init.sh:/docker-entrypoint-initdb.d/maru.sh:ro"
        in (services["postgres"]["volumes"])
    )
    assert env.public_url == "https://chat.example.com"
    assert {"postgres", "redis"} <= {*services}
    assert services["postgres"]["env_file"] == "postgres.env"


def test_secrets_are_created_once_and_are_random(
    created: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    again = run_script(tmp_path)

    assert again.returncode == 1
    assert "Nothing was changed" in again.stderr
    assert settings_in(tmp_path / "maru.env") == created["maru.env"]
    (tmp_path / "maru.env").unlink()
    (tmp_path / "postgres.env").unlink()
    run_script(tmp_path)
    recreated = settings_in(tmp_path / "maru.env")
    assert recreated["MARU_SECRET_KEY"] != created["maru.env"]["MARU_SECRET_KEY"]


@pytest.fixture
def docker(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell whose `docker` prints the content of the file `digest`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\ncat {tmp_path}/digest\n'
    (folder / "docker").write_text(script)
    (folder / "docker").chmod(0o755)
    for name in ("pin_images.sh", "compose.yaml", "Dockerfile"):
        (tmp_path / name).write_text((DEPLOY / name).read_text())
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def pin(folder: Path, env: dict[str, str], digest: str) -> subprocess.CompletedProcess[str]:
    (folder / "digest").write_text(digest)
    command = ["sh", str(folder / "pin_images.sh")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_one_command_pins_every_foreign_image_to_a_digest(
    tmp_path: Path, docker: dict[str, str]
) -> None:
    for digit in ("a", "b"):  # the second run replaces the digests of the first
        digest = f"sha256:{digit * 64}"
        pinned = pin(tmp_path, docker, f"{digest}\n")

        assert pinned.returncode == 0, pinned.stderr
        written = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
        images = {name: written[name]["image"] for name in written.keys() - MARU}
        assert {image.partition("@")[2] for image in images.values()} == {digest}
        assert images["postgres"] == f"postgres:17@{digest}"
        assert stages(tmp_path / "Dockerfile")["python"].base == f"python:3.11-slim@{digest}"
        assert written["web-1"]["image"] == "maru-web:${MARU_VERSION:-local}"
    assert "imagetools inspect --format {{.Manifest.Digest}} redis:8" in (
        (tmp_path / "calls").read_text()
    )
    assert not list(tmp_path.glob("*.before"))


@pytest.mark.parametrize("answer", ["", "<no value>\n", "sha256:abc\n", "md5:1\n"])
def test_image_without_a_digest_changes_nothing(
    tmp_path: Path, docker: dict[str, str], answer: str
) -> None:
    refused = pin(tmp_path, docker, answer)

    assert refused.returncode == 1
    assert "Nothing was changed" in refused.stderr
    for name in ("compose.yaml", "Dockerfile"):
        assert (tmp_path / name).read_text() == (DEPLOY / name).read_text()


def test_no_secret_is_in_the_repository() -> None:
    secret = re.compile(r"\.env|\.dump$|(^|/)tls/|\.pem$|password\.txt$")

    assert [path for path in files() if secret.search(path)] == [".env.example"]
    for name in ("maru.env", "maru.env.before", "postgres.env", "maru.dump", "tls/privkey.pem"):
        command = ["git", "check-ignore", "--quiet", f"deploy/{name}"]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0, name
