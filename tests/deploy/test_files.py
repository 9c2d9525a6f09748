"""The files in deploy/ are valid, and say nothing that this version does not know."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from asof.cli import cli
from asof.config import KEYS
from tests.servers.processes import absent

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOGINS = {"ASOF_POSTGRES_USER", "ASOF_POSTGRES_PASSWORD"}
KNOWN = {f"ASOF_{key.upper()}" for key in KEYS} | LOGINS


def resources() -> list[dict[str, Any]]:
    return [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]


def pods() -> list[dict[str, Any]]:
    """Return the pod templates of all workloads."""
    found = []
    for one in resources():
        if one["kind"] == "Deployment":
            found.append(one["spec"]["template"])
        elif one["kind"] == "CronJob":
            found.append(one["spec"]["jobTemplate"]["spec"]["template"])
    return found


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["spec"]["containers"]]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def own_services() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in compose()["services"].items() if "ASOF_IMAGE" in one["image"]}


def check_command(arguments: list[str]) -> None:
    """Parse a command line without running it; click refuses what it does not know."""
    context = click.Context(cli, info_name="asof")
    name, command, rest = cli.resolve_command(context, list(arguments))
    assert command is not None
    command.make_context(name, rest, parent=context)


def test_unknown_options_would_be_noticed() -> None:
    with pytest.raises(click.ClickException):
        check_command(["serve", "--no-such-option"])


@pytest.mark.parametrize("resource", resources(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_manifests_are_what_kubernetes_takes(resource: dict[str, Any]) -> None:
    """Against the schemas of the newest version that the linter knows, and of one that is two years older."""
    for version in (kubernetes_validate.latest_version(), "1.31.0"):
        kubernetes_validate.validate(resource, version, strict=True)


def test_every_manifest_is_applied() -> None:
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]


@pytest.mark.parametrize("container", containers(), ids=lambda one: str(one["name"]))
def test_containers_run_commands_that_exist_without_rights(container: dict[str, Any]) -> None:
    check_command(container["args"])
    assert container["image"] == "project"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("pod", pods(), ids=lambda one: str(one["spec"]["containers"][0]["name"]))
def test_pods_run_as_the_image_does(pod: dict[str, Any]) -> None:
    user = DockerfileParser(str(DEPLOY)).structure
    [number] = [line["value"] for line in user if line["instruction"] == "USER"]
    assert pod["spec"]["securityContext"]["runAsUser"] == int(number)
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert not pod["spec"]["automountServiceAccountToken"]


def test_selectors_find_their_pods() -> None:
    labels = [pod["metadata"]["labels"] for pod in pods()]
    for one in resources():
        spec = one.get("spec", {})
        wanted = spec.get("selector", spec.get("podSelector"))
        if one["kind"] in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
            wanted = wanted.get("matchLabels", wanted)
            assert any(wanted.items() <= have.items() for have in labels), one["metadata"]["name"]


def test_settings_are_known() -> None:
    """A misspelt variable would be ignored without a word."""
    [config] = [one for one in resources() if one["kind"] == "ConfigMap"]
    assert set(config["data"]) <= KNOWN
    for service in own_services().values():
        assert set(service["environment"]) <= KNOWN


@pytest.mark.parametrize("service", own_services().values(), ids=own_services())
def test_services_run_commands_that_exist(service: dict[str, Any]) -> None:
    check_command(service["command"])
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"]


def test_services_are_published_on_loopback_only() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_compose_file_is_one() -> None:
    """As Compose itself sees it, once its variables are set; without one it is refused."""
    command = shutil.which("docker-compose")
    if command is None:
        absent("Docker Compose", "docker-compose")
    given = {
        "ASOF_IMAGE": "shop",
        "ASOF_POSTGRES_PASSWORD": "one",
        "ASOF_REDIS_PASSWORD": "two",
        "PATH": "/usr/bin:/bin",
    }
    arguments = [command, "--file", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    done = subprocess.run(arguments, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    del given["ASOF_REDIS_PASSWORD"]
    done = subprocess.run(arguments, env=given, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "a password for Redis" in done.stderr


def test_the_image_is_made_of_what_there_is() -> None:
    lines = DockerfileParser(str(DEPLOY)).structure
    copied = [line["value"].split() for line in lines if line["instruction"] == "COPY"]
    for sources in (value[:-1] for value in copied if not value[0].startswith("--from")):
        for source in sources:
            assert (ROOT / source).exists(), source
    [extras] = [line["value"].split('"$wheel[')[1].split("]")[0] for line in lines if '"$wheel[' in line["value"]]
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    [arguments] = [line["value"] for line in lines if line["instruction"] == "CMD"]
    check_command(yaml.safe_load(arguments))
    assert all(":" in line["value"] for line in lines if line["instruction"] == "FROM")
    assert lines[-1]["instruction"] == "CMD"
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"!pyproject.toml", "!native", "!src"} <= set(ignored)
