"""How the manifests start our programs: the words and settings of each container that runs the image.

In:  the Dockerfile, deploy/compose and deploy/kubernetes.
Out: a `Launch` for each container, with the environment that it would have. Secrets, which the manifests only refer to,
     get a value of the right form.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.deploy.dockerfile import ROOT, exec_form, instructions
from tests.deploy.kustomize import Object, build, load_all, name_of

__all__ = [
    "COMPOSE",
    "KUBERNETES",
    "OVERLAYS",
    "Launch",
    "compose_secrets",
    "compose_service",
    "launches",
    "of_compose",
]

COMPOSE: Final = ROOT / "deploy" / "compose"
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final = tuple(
    sorted(
        path.parent
        for path in (KUBERNETES / "overlays").rglob("kustomization.yaml")
        if path.parent.name not in ("release", "foundation")  # these are parts of the others
    )
)
"""Every folder that is applied."""

_SECRET_VALUES: Final = {
    "url": "http://sendledger:a-password@clickhouse:8123",
    "token-secret": "a secret of this test, and of no other place",
}
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_COMMAND: Final = re.compile(r"^ *```sh\n((?:(?!```).)*compose/\.env(?:(?!```).)*?)^ *```$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Launch:
    """A container that runs our image."""

    where: str
    words: list[str]
    """The command line without `sendledger`."""
    env: dict[str, str]
    own: frozenset[str] = field(default_factory=frozenset)
    """The variables that are set for this container, not for all."""


@cache
def launches() -> tuple[Launch, ...]:
    """All of them."""
    return (*_of_image(), *of_compose(), *_of_kubernetes())


def _of_image() -> Iterator[Launch]:
    (command,) = [one.text for one in instructions() if one.name == "CMD"]
    env = " ".join(one.text for one in instructions() if one.name == "ENV" and one.stage == 1)
    settings = dict(word.split("=", 1) for word in env.split() if word.startswith("SENDLEDGER_"))
    # By itself, the image is given nothing but its required settings.
    given = {
        "SENDLEDGER_KAFKA_BOOTSTRAP": "kafka:9092",
        "SENDLEDGER_CLICKHOUSE_URL": _SECRET_VALUES["url"],
        "SENDLEDGER_TOKEN_SECRET": _SECRET_VALUES["token-secret"],
    }
    yield Launch("Dockerfile", exec_form(command), settings | given)


@cache
def compose_secrets() -> Mapping[str, str]:
    """The `.env` that the command of the how-to page writes."""
    page = (ROOT / "docs" / "how-to" / "deploy-with-compose.md").read_text(encoding="utf-8")
    found = _COMMAND.search(page)
    assert found, "the page has the command that writes deploy/compose/.env"
    with TemporaryDirectory() as folder:
        (Path(folder) / "deploy" / "compose").mkdir(parents=True)
        subprocess.run(["sh", "-euc", found[1]], cwd=folder, check=True, env={"PATH": os.defpath})
        written = Path(folder) / "deploy" / "compose" / ".env"
        assert written.stat().st_mode & 0o077 == 0, "only its owner may read it"
        lines = written.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def compose_service(name: str) -> dict[str, Any]:
    """A service of compose.yaml with the values of its variables, as compose sees it."""
    (document,) = load_all(COMPOSE / "compose.yaml")
    service: dict[str, Any] = _interpolated(document["services"][name], compose_secrets())
    return service


def of_compose() -> Iterator[Launch]:
    """The services of compose.yaml that run our image."""
    (document,) = load_all(COMPOSE / "compose.yaml")
    for name, raw in document["services"].items():
        if raw["image"].startswith("sendledger:"):
            service = compose_service(name)
            env = service["environment"]
            assert all(isinstance(value, str) for value in env.values()), f"{name}: quote numbers and booleans"
            yield Launch(f"compose: {name}", service["command"], env, frozenset(env))


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [_interpolated(one, variables) for one in value]
    return _VARIABLE.sub(lambda match: _value(match, variables), value) if isinstance(value, str) else value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, operator, operand = match.groups()
    if value := variables.get(name, ""):
        return value
    assert operator == "-", f"{name} is not set: {operand}"
    return operand or ""


def _of_kubernetes() -> Iterator[Launch]:
    for overlay in OVERLAYS:
        objects = build(overlay)
        for one in objects:
            for container in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
                where = f"{overlay.relative_to(KUBERNETES / 'overlays')}: {name_of(one)}"
                yield _of_container(where, one, container, objects)


def _of_container(where: str, owner: Object, container: Object, objects: list[Object]) -> Launch:
    env: dict[str, str] = {}
    for source in container.get("envFrom", []):
        (config,) = [one for one in objects if name_of(one) == f"ConfigMap/{source['configMapRef']['name']}"]
        env |= config["data"]
    own = {entry["name"]: _entry(owner, entry) for entry in container.get("env", [])}
    env |= {name: value for name, value in own.items() if value is not None}
    # Kubernetes replaces $(NAME) in `args` by the variables of the container.
    words = [re.sub(r"\$\((\w+)\)", lambda match: env[match[1]], word) for word in container["args"]]
    return Launch(where, words, env, frozenset(own))


def _entry(owner: Object, entry: Object) -> str | None:
    """The value of a variable; None for an optional key of a secret, which is not there."""
    if "value" in entry:
        return str(entry["value"])
    source = entry["valueFrom"]
    if "fieldRef" in source:
        path = source["fieldRef"]["fieldPath"]
        return {
            "metadata.name": f"{owner['metadata']['name']}-0",
            "metadata.annotations['batch.kubernetes.io/job-completion-index']": "0",
        }[path]
    reference = source["secretKeyRef"]
    return None if reference.get("optional") else _SECRET_VALUES[reference["key"]]
