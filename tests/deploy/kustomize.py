"""What `kustomize build` makes of a folder below `deploy/kubernetes/`, for the few features that are used there.

In:  a folder with a kustomization.yaml.
Out: its objects, with patches, images, namespace and generated ConfigMaps applied.
Promise: anything that this does not understand, that is missing or that matches nothing raises KustomizeError. So no
     line of a kustomization goes unread. It is no kustomize: names of ConfigMaps get no hash.
"""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["KustomizeError", "Object", "build", "load_all", "name_of"]

Object = dict[str, Any]

_KEYS: Final = {
    "apiVersion", "kind", "namespace", "resources", "components", "images", "patches", "configMapGenerator",
}  # fmt: skip
_API_VERSIONS: Final = {
    "Kustomization": "kustomize.config.k8s.io/v1beta1",
    "Component": "kustomize.config.k8s.io/v1alpha1",
}


class KustomizeError(Exception):
    """A kustomization that can't be built, or that this does not understand."""


def load_all(path: Path) -> list[Object]:
    """The documents of a YAML file. A key that is written twice is an error."""
    with path.open(encoding="utf-8") as file:
        return [document for document in yaml.load_all(file, _Loader) if document is not None]


def build(folder: Path) -> list[Object]:
    """Return the objects of a folder."""
    objects: list[Object] = []
    _accumulate(folder.resolve(), "Kustomization", objects, ())
    return objects


def name_of(thing: Mapping[str, Any]) -> str:
    """Return `Kind/name`."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


class _Loader(yaml.SafeLoader):
    """Refuses a mapping with the same key twice; YAML takes the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        if len(keys) != len(set(keys)):
            raise KustomizeError(f"a key is written twice: {node.start_mark}")
        return super().construct_mapping(node, deep)


def _accumulate(folder: Path, kind: str, objects: list[Object], parents: tuple[Path, ...]) -> None:
    """Add the objects of `folder` to `objects`; a component also changes those that are there."""
    if any(parent.is_relative_to(folder) for parent in parents):
        raise KustomizeError(f"{folder} contains the folder that refers to it")
    path = folder / "kustomization.yaml"
    if not path.is_file():
        raise KustomizeError(f"there is no {path}")
    (own,) = load_all(path)
    if (own.get("kind"), own.get("apiVersion")) != (kind, _API_VERSIONS[kind]):
        raise KustomizeError(f"{path} is not a {kind} of {_API_VERSIONS[kind]}")
    if unknown := own.keys() - _KEYS:
        raise KustomizeError(f"{path}: {unknown} is not understood here")
    for entry in own.get("resources", []):
        _take_in(folder, entry, objects, (*parents, folder))
    for entry in own.get("components", []):
        _accumulate((folder / entry).resolve(), "Component", objects, (*parents, folder))
    for generator in own.get("configMapGenerator", []):
        _add(objects, [_config_map(folder, generator)], path)
    for patch in own.get("patches", []):
        _patch(objects, patch, path)
    for image in own.get("images", []):
        _set_image(objects, image, path)
    if namespace := own.get("namespace"):
        for one in objects:
            one["metadata"]["name" if one["kind"] == "Namespace" else "namespace"] = namespace


def _take_in(folder: Path, entry: str, objects: list[Object], parents: tuple[Path, ...]) -> None:
    path = (folder / entry).resolve()
    if path.is_dir():
        below: list[Object] = []
        _accumulate(path, "Kustomization", below, parents)
        _add(objects, below, path)
    elif not path.is_relative_to(folder):  # kustomize reads files only below the folder that names them
        raise KustomizeError(f"{entry} is outside of {folder}")
    elif not path.is_file():
        raise KustomizeError(f"{folder} names {entry}, which does not exist")
    else:
        _add(objects, load_all(path), path)


def _add(objects: list[Object], more: Iterable[Object], where: Path) -> None:
    for one in more:
        if any((one["apiVersion"], name_of(one)) == (other["apiVersion"], name_of(other)) for other in objects):
            raise KustomizeError(f"{where}: {name_of(one)} exists twice")
        objects.append(one)


def _config_map(folder: Path, generator: Mapping[str, Any]) -> Object:
    if generator.keys() != {"name", "envs"}:
        raise KustomizeError(f"{folder}: a generator with other keys than name and envs")
    data: dict[str, str] = {}
    for name in generator["envs"]:
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                key, equals, value = line.partition("=")
                if not equals or key in data:
                    raise KustomizeError(f"{folder / name}: {line!r}")
                data[key] = value
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}


def _patch(objects: list[Object], patch: Mapping[str, Any], where: Path) -> None:
    if patch.keys() != {"target", "patch"}:
        raise KustomizeError(f"{where}: a patch has a target and operations (JSON 6902)")
    target = patch["target"]
    hit = [one for one in objects if _gvkn(one) == (target["group"], target["version"], target["kind"], target["name"])]
    if not hit:
        raise KustomizeError(f"{where}: no object is {target}")
    for one in hit:
        for operation in yaml.load(patch["patch"], _Loader):
            _operate(one, operation, where)


def _gvkn(one: Object) -> tuple[str, str, str, str]:
    group, _, version = one["apiVersion"].rpartition("/")
    return group, version, one["kind"], one["metadata"]["name"]


def _operate(one: Object, operation: Mapping[str, Any], where: Path) -> None:
    *way, last = operation["path"].removeprefix("/").split("/")
    at: Any = one
    try:
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at[step]
    except (KeyError, IndexError) as error:
        raise KustomizeError(f"{where}: {name_of(one)} has no {operation['path']}") from error
    key = int(last) if isinstance(at, list) else last
    if operation["op"] != "replace" or key not in (range(len(at)) if isinstance(at, list) else at):
        raise KustomizeError(f"{where}: only `replace` is understood, of what is there: {operation}")
    at[key] = copy.deepcopy(operation["value"])


def _set_image(objects: list[Object], image: Mapping[str, Any], where: Path) -> None:
    hit = [
        container
        for one in objects
        for container in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
        if container["image"] == image["name"]
    ]
    if not hit:
        raise KustomizeError(f"{where}: no container has the image {image['name']}")
    for container in hit:
        digest = f"@{image['digest']}" if "digest" in image else f":{image['newTag']}"
        container["image"] = image.get("newName", image["name"]) + digest
