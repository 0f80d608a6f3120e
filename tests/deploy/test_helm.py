"""The chart: Helm's own library renders it, and the schemas of Kubernetes accept every object."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from maru.config.env import PREFIX, Env
from maru.management.commands import runagents
from maru.server.process import DRAIN_SECONDS
from tests.deploy.dockerfile import stages
from tests.live import ROOT

helm = pytest.importorskip("helm_python", reason="not installed: requirements-chart.lock")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

CHART = ROOT / "deploy" / "helm"
KUBERNETES = ("1.29", "1.34")
DIGEST = f"sha256:{'a' * 64}"
VALUES: dict[str, Any] = {
    "images": {
        "web": {"repository": "images.example/maru-web", "tag": "1.0"},
        "agents": {"repository": "images.example/maru-agents", "digest": DIGEST},
        "pullSecrets": ["pull"],
    },
    "publicUrl": "https://chat.example.com",
    "existingSecret": "maru",
    "trustedProxies": "10.244.0.0/16",
    "settings": {"MARU_SIGNUP": "open", "MARU_RUN_CHARACTERS": "1000000"},
    "ingress": {"className": "nginx", "tlsSecret": "chat-tls"},
}

Objects = dict[tuple[str, str], dict[str, Any]]


def render(chart: Path = CHART, **changes: Any) -> Objects:
    """Return the objects of a release, by kind and name; raise HelmError if Helm refuses."""
    with helm.Chart.load(str(chart)) as loaded:
        files = loaded.render({**VALUES, **changes}, name="chat", namespace="rooms")
    objects = [found for text in files.values() for found in yaml.safe_load_all(text) if found]
    return {(found["kind"], found["metadata"]["name"]): found for found in objects}


@pytest.fixture(scope="module")
def objects() -> Objects:
    return render(ownerSecret="maru-owner")


def pod(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """Return the specification of the pods of a Deployment or a Job."""
    found: dict[str, Any] = objects[kind, name]["spec"]["template"]["spec"]
    return found


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    return {
        name: pod(objects, kind, name) for kind, name in objects if kind in {"Deployment", "Job"}
    }


def test_chart_has_the_objects_of_an_installation(objects: Objects) -> None:
    assert sorted(objects) == [
        ("ConfigMap", "chat-settings"),
        ("Deployment", "chat-agents"),
        ("Deployment", "chat-web"),
        ("Ingress", "chat-web"),
        ("Job", "chat-migrate"),
        ("PodDisruptionBudget", "chat-agents"),
        ("PodDisruptionBudget", "chat-web"),
        ("Service", "chat-web"),
    ]
    assert ("Ingress", "chat-web") not in render(ingress={"enabled": False})


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_object(objects: Objects, version: str) -> None:
    for found in (*objects.values(), *render().values()):
        kubernetes_validate.validate(found, version, strict=True)


def copy_chart(folder: Path) -> Path:
    """Return a copy of the chart that a test may change."""
    return Path(shutil.copytree(CHART, folder / "maru"))


def test_field_that_kubernetes_does_not_know_is_found(tmp_path: Path) -> None:
    chart = copy_chart(tmp_path)
    helpers = chart / "templates" / "_helpers.tpl"
    helpers.write_text(helpers.read_text().replace("readOnlyRootFilesystem", "readOnlyRoot"))

    broken = render(chart)["Deployment", "chat-web"]

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[0], strict=True)


def test_lint_finds_no_error(tmp_path: Path) -> None:
    chart = copy_chart(tmp_path)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    (chart / "values.yaml").write_text(yaml.safe_dump(values | VALUES))

    assert helm.lint(str(chart))["errors"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"publicUrl": ""},
        {"publicUrl": "https://chat.example.com/path"},
        {"existingSecret": ""},
        {"trustedProxies": ""},
        {"images": {"web": {"repository": "x"}, "agents": {"repository": "x", "tag": "1"}}},
        {"settings": {"MARU_SECRET_KEY": "x"}},
        {"settings": {"MARU_PORT": "9"}},
        {"settings": {"MARU_RUN_CHARACTERS": 1_000_000}},
        {"setting": {}},
    ],
    ids=json.dumps,
)
def test_value_that_cannot_work_is_refused_before_anything_is_installed(
    change: dict[str, Any],
) -> None:
    with helm.Chart.load(str(CHART)) as chart, pytest.raises(helm.HelmValuesError):
        chart.validate_schema({**VALUES, **change})


def test_pods_run_without_root_and_with_a_read_only_root(objects: Objects) -> None:
    user = int(stages()["web"].of("USER")[0].rest.partition(":")[0])

    for name, spec in pods(objects).items():
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["runAsUser"] == user, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}], name
            assert {"requests", "limits"} <= container["resources"].keys(), name


def test_probes_and_ports_are_those_of_the_images(objects: Objects) -> None:
    for stage, port in (("web", 8000), ("agents", 9101)):
        (container,) = pod(objects, "Deployment", f"chat-{stage}")["containers"]
        assert [found["containerPort"] for found in container["ports"]] == [port]
        assert str(port) == stages()[stage].of("EXPOSE")[0].rest
        paths = {
            probe: container[probe]["httpGet"]["path"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert paths == {
            "startupProbe": "/healthz",
            "livenessProbe": "/healthz",
            "readinessProbe": "/readyz",
        }
    settings = objects["ConfigMap", "chat-settings"]["data"]
    assert (settings["MARU_PORT"], settings["MARU_METRICS_PORT"]) == ("8000", "9101")


def test_no_pod_is_killed_before_its_drain_ends(objects: Objects) -> None:
    for name, drain in (("web", DRAIN_SECONDS), ("agents", runagents.DRAIN_SECONDS)):
        spec = pod(objects, "Deployment", f"chat-{name}")
        hook = spec["containers"][0].get("lifecycle", {}).get("preStop", {})
        pause = int(hook["exec"]["command"][1]) if hook else 0
        assert spec["terminationGracePeriodSeconds"] >= drain + pause + 5, name


def test_migration_runs_before_the_processes_and_as_the_owner(objects: Objects) -> None:
    job = objects["Job", "chat-migrate"]
    (container,) = pod(objects, "Job", "chat-migrate")["containers"]
    env = {entry["name"]: entry for entry in container["env"]}

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert container["command"] == ["python", "manage.py", "migrate"]
    owner = env.pop("MARU_DATABASE_URL")["valueFrom"]["secretKeyRef"]
    assert owner == {"name": "maru-owner", "key": "MARU_DATABASE_URL"}
    # `env` wins over `envFrom`, which has the same setting for the processes.
    assert container["envFrom"] == [{"secretRef": {"name": "maru"}}]
    assert {name: entry["value"] for name, entry in env.items()} == (
        objects["ConfigMap", "chat-settings"]["data"]
    )


def test_settings_exist_and_none_is_a_secret(objects: Objects) -> None:
    settings = objects["ConfigMap", "chat-settings"]["data"]

    assert settings.keys() <= {PREFIX + name.upper() for name in Env.model_fields}
    assert settings["MARU_RUN_CHARACTERS"] == "1000000"
    assert "Secret" not in {kind for kind, _name in objects}
    read = Env(
        **{name.removeprefix(PREFIX).lower(): value for name, value in settings.items()},
        database_url="postgresql://maru@db/maru",
        redis_url="redis://redis:6379/0",
        secret_key="x" * 32,
    )
    assert read.metrics_port == 9101


def test_changed_setting_restarts_the_processes(objects: Objects) -> None:
    changed = render(settings={"MARU_SIGNUP": "invitation"})

    for name in ("chat-web", "chat-agents"):
        before, after = (
            found["Deployment", name]["spec"]["template"]["metadata"]["annotations"]
            for found in (objects, changed)
        )
        assert before != after


def test_services_and_budgets_select_the_pods(objects: Objects) -> None:
    for name in ("web", "agents"):
        labels = objects["Deployment", f"chat-{name}"]["spec"]["template"]["metadata"]["labels"]
        budget = objects["PodDisruptionBudget", f"chat-{name}"]["spec"]["selector"]["matchLabels"]
        assert budget == labels
        assert objects["Deployment", f"chat-{name}"]["spec"]["selector"]["matchLabels"] == labels
    web = objects["Deployment", "chat-web"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service", "chat-web"]["spec"]["selector"] == web
    rule = objects["Ingress", "chat-web"]["spec"]["rules"][0]
    assert rule["host"] == "chat.example.com"
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == "chat-web"
