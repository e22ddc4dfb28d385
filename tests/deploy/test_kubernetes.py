"""The manifests for Kubernetes: valid, closed by default, and each reference leads somewhere.

`kustomize` is not run here: `tests.deploy.kustomize` builds the overlays. The schemas of Kubernetes are those that the
package kubernetes-validate brings; KEDA and the Prometheus operator publish theirs elsewhere, so their few fields are
checked by hand.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest

from schemas.settings import PREFIX
from tests.deploy.kustomize import KustomizeError, Object, build, load_all, name_of
from tests.deploy.launches import KUBERNETES, OVERLAYS

VERSIONS: Final = ("1.31", "1.37")
"""The oldest and the newest Kubernetes that the objects are checked against."""
CUSTOM: Final = {"ScaledObject", "PodMonitor"}
BUILT: Final = {str(folder.relative_to(KUBERNETES / "overlays")): build(folder) for folder in OVERLAYS}
RUNNING: Final = ("staging", "production")


def workloads(objects: list[Object]) -> list[Object]:
    return [one for one in objects if "template" in one.get("spec", {})]


def pods() -> list[Any]:
    """Every workload of every overlay, as parameters."""
    return [pytest.param(one, id=f"{where}: {name_of(one)}") for where in BUILT for one in workloads(BUILT[where])]


def containers(workload: Object) -> list[Object]:
    found: list[Object] = workload["spec"]["template"]["spec"]["containers"]
    return found


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [one for one in objects if name_of(one) == f"{kind}/{name}"]
    return found


def of_kind(kind: str) -> Iterator[tuple[str, Object, list[Object]]]:
    for where in RUNNING:
        yield from ((where, one, BUILT[where]) for one in BUILT[where] if one["kind"] == kind)


def selects(selector: dict[str, Any], workload: Object) -> bool:
    labels = workload["spec"]["template"]["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.items())


def test_every_file_is_used_by_an_overlay() -> None:
    used: set[Path] = set()
    for path in KUBERNETES.rglob("kustomization.yaml"):
        (own,) = load_all(path)
        used.add(path)
        used |= {path.parent / name for name in own.get("resources", []) if name.endswith(".yaml")}
        used |= {path.parent / name for one in own.get("configMapGenerator", []) for name in one["envs"]}
    assert {path for path in KUBERNETES.rglob("*") if path.is_file()} - used == set()
    shared = {path.parent for path in KUBERNETES.rglob("kustomization.yaml") if "overlays" not in path.parts}
    named_by = {
        (path.parent / entry).resolve()
        for path in (KUBERNETES / "overlays").rglob("kustomization.yaml")
        for (own,) in [load_all(path)]
        for entry in (*own.get("resources", []), *own.get("components", []))
    }
    assert shared - named_by == set()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("where", BUILT)
def test_objects_are_valid(where: str, version: str) -> None:
    for one in BUILT[where]:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)


def test_a_misspelt_field_is_not_valid() -> None:
    one = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "a"},
        "automountServiceAccountTokens": False,
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, VERSIONS[0], strict=True)


@pytest.mark.parametrize("where", BUILT)
def test_everything_is_in_the_namespace_of_its_overlay(where: str) -> None:
    (namespace,) = [one["metadata"]["name"] for one in BUILT[where] if one["kind"] == "Namespace"]
    assert namespace == ("sendledger-staging" if where.startswith("staging") else "sendledger")
    assert {one["metadata"].get("namespace") for one in BUILT[where] if one["kind"] != "Namespace"} == {namespace}


@pytest.mark.parametrize("where", BUILT)
def test_a_namespace_refuses_pods_that_may_do_more(where: str) -> None:
    (labels,) = [one["metadata"]["labels"] for one in BUILT[where] if one["kind"] == "Namespace"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("workload", pods())
def test_a_pod_may_do_nothing_but_run(workload: Object) -> None:
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "sendledger"
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    for container in containers(workload):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in security


@pytest.mark.parametrize("workload", pods())
def test_a_container_has_an_image_of_a_release_and_bounds(workload: Object) -> None:
    for container in containers(workload):
        tag = container["image"].rpartition(":")[2]
        assert tag not in ("latest", container["image"])
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def _is_own(volume: Object) -> bool:
    """Whether it is an empty folder of the pod, of a limited size."""
    return volume.keys() == {"name", "emptyDir"} and "sizeLimit" in volume["emptyDir"]


def _is_secret(volume: Object) -> bool:
    """Whether it has files of a secret that may be absent, which only the user of the pod may read."""
    return (
        volume.keys() == {"name", "secret"}
        and volume["secret"]["optional"]
        and volume["secret"]["defaultMode"] == 0o440
    )


@pytest.mark.parametrize("workload", pods())
def test_what_a_container_mounts_exists_and_is_nothing_of_the_machine(workload: Object) -> None:
    volumes = {one["name"]: one for one in workload["spec"]["template"]["spec"]["volumes"]}
    assert all(_is_own(volume) or _is_secret(volume) for volume in volumes.values())
    for container in containers(workload):
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert not any(_is_secret(volumes[name]) for name in writable)
        assert set(mounts.values()) == volumes.keys()
        folder = {entry["name"]: entry.get("value") for entry in container.get("env", [])}.get(f"{PREFIX}WORKER_DIR")
        assert folder is None or folder in mounts, "a worker writes there"


@pytest.mark.parametrize("workload", pods())
def test_secrets_are_only_referred_to(workload: Object) -> None:
    for container in containers(workload):
        for entry in container.get("env", []):
            if entry["name"].endswith(("_URL", "_SECRET", "_KEYS", "_TOKENS", "_AUTH")):
                assert "secretKeyRef" in entry["valueFrom"], entry["name"]


@pytest.mark.parametrize("where", BUILT)
def test_no_secret_is_in_a_file(where: str) -> None:
    assert [name_of(one) for one in BUILT[where] if one["kind"] == "Secret"] == []


def test_a_program_gets_no_secret_that_it_does_not_need() -> None:
    given = {
        name_of(one): {
            entry["valueFrom"]["secretKeyRef"]["name"]
            for container in containers(one)
            for entry in container.get("env", [])
            if "secretKeyRef" in entry.get("valueFrom", {})
        }
        for where in BUILT
        for one in workloads(BUILT[where])
    }
    assert given == {
        "Deployment/gateway": {"sendledger-kafka", "sendledger-clickhouse", "sendledger-gateway"},
        "StatefulSet/ledger": {"sendledger-kafka", "sendledger-clickhouse"},
        "StatefulSet/gate": {"sendledger-kafka"},
        "Job/topics": {"sendledger-kafka"},
        "Job/migrate": {"sendledger-clickhouse-migrate"},
        "Job/rebuild-fold": {"sendledger-kafka", "sendledger-clickhouse-migrate"},
        "Job/rebuild-diff": {"sendledger-kafka", "sendledger-clickhouse-migrate"},
        "Job/rebuild-swap": {"sendledger-kafka", "sendledger-clickhouse-migrate"},
    }


@pytest.mark.parametrize("workload", pods())
def test_whoever_reaches_kafka_may_have_a_password_and_certificates_for_it(workload: Object) -> None:
    reaches = "reaches-kafka" in workload["spec"]["template"]["metadata"]["labels"]
    for container in containers(workload):
        refers = {
            entry["name"].removeprefix(PREFIX)
            for entry in container.get("env", [])
            if entry.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "sendledger-kafka"
        }
        files = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "kafka-tls"}
        assert refers == ({"KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"} if reaches else set())
        assert files == ({"/etc/sendledger/kafka"} if reaches else set())


# ---- who may talk to whom


@pytest.mark.parametrize("where", BUILT)
def test_nobody_talks_to_anybody_by_default(where: str) -> None:
    policy = named(BUILT[where], "NetworkPolicy", "default-deny")["spec"]
    assert policy["podSelector"] == {}
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not policy.keys() & {"ingress", "egress"}


@pytest.mark.parametrize("where", BUILT)
def test_no_policy_is_open(where: str) -> None:
    """Each rule names its peers and its ports: a rule without either means everybody, or every port."""
    for one in (one for one in BUILT[where] if one["kind"] == "NetworkPolicy"):
        for rules, peers in (("ingress", "from"), ("egress", "to")):
            for rule in one["spec"].get(rules, []):
                assert rule["ports"], name_of(one)
                assert rule[peers], name_of(one)
                for peer in rule[peers]:
                    assert all(selector["matchLabels"] for selector in peer.values()), name_of(one)


@pytest.mark.parametrize("workload", pods())
def test_a_pod_reaches_the_servers_whose_settings_it_needs(workload: Object) -> None:
    (container,) = containers(workload)
    labels = workload["spec"]["template"]["metadata"]["labels"]
    own = {entry["name"] for entry in container.get("env", [])}
    assert (labels.get("reaches-clickhouse") == "true") == (f"{PREFIX}CLICKHOUSE_URL" in own)
    assert (labels.get("reaches-kafka") == "true") == (container["args"] != ["migrate"])
    assert (labels.get("serves-metrics") == "true") == ("ports" in container)


def test_the_policies_select_the_pods_that_they_are_about() -> None:
    for where, one, objects in of_kind("NetworkPolicy"):
        selector = one["spec"]["podSelector"].get("matchLabels", {})
        assert any(selects(selector, workload) for workload in workloads(objects)), f"{where}: {name_of(one)}"


def test_the_port_of_kafka_is_open() -> None:
    for where in RUNNING:
        bootstrap = named(BUILT[where], "ConfigMap", "sendledger")["data"][f"{PREFIX}KAFKA_BOOTSTRAP"]
        (rule,) = named(BUILT[where], "NetworkPolicy", "to-kafka")["spec"]["egress"]
        assert {port["port"] for port in rule["ports"]} == {int(one.rpartition(":")[2]) for one in bootstrap.split(",")}


# ---- references


def test_selectors_find_their_own_pods() -> None:
    for kind in ("Deployment", "StatefulSet"):
        for where, one, _ in of_kind(kind):
            assert selects(one["spec"]["selector"]["matchLabels"], one), f"{where}: {name_of(one)}"


def test_a_service_leads_to_a_port_that_a_container_opens() -> None:
    for _, service, objects in of_kind("Service"):
        (target,) = [one for one in workloads(objects) if selects(service["spec"]["selector"], one)]
        opened = {port["name"] for container in containers(target) for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= opened


def test_a_stateful_set_has_its_headless_service() -> None:
    for _, one, objects in of_kind("StatefulSet"):
        assert named(objects, "Service", one["spec"]["serviceName"])["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("workload", pods())
def test_ports_and_probes_are_those_of_the_settings(workload: Object) -> None:
    (container,) = containers(workload)
    env = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
    opened = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    configured = {env[name] for name in (f"{PREFIX}PORT", f"{PREFIX}METRICS_PORT") if env.get(name)}
    given = [
        after for word, after in zip(container["args"], container["args"][1:], strict=False) if word == "--metrics-port"
    ]
    assert {str(port) for port in opened.values()} == configured | set(given)
    probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container]
    assert all(probe["httpGet"]["port"] in opened for probe in probes if "httpGet" in probe)
    for probe in (probe for probe in probes if "exec" in probe):
        assert f":{opened['metrics']}/metrics" in " ".join(probe["exec"]["command"])
    if workload["kind"] != "Job":
        assert len(probes) == 3


def test_webhooks_are_accepted_while_clickhouse_is_away() -> None:
    """/readyz is 503 then, in every pod at once."""
    for _, one, _ in of_kind("Deployment"):
        (container,) = containers(one)
        assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_every_program_that_runs_all_the_time_has_a_disruption_budget() -> None:
    for where in RUNNING:
        budgets = [one["spec"] for one in BUILT[where] if one["kind"] == "PodDisruptionBudget"]
        assert all(budget["maxUnavailable"] == 1 for budget in budgets)
        for one in workloads(BUILT[where]):
            assert sum(selects(budget["selector"]["matchLabels"], one) for budget in budgets) == 1, name_of(one)


def test_a_worker_is_a_static_member_by_the_name_of_its_pod() -> None:
    for _, one, _ in of_kind("StatefulSet"):
        (container,) = containers(one)
        (instance,) = [entry for entry in container["env"] if entry["name"] == f"{PREFIX}INSTANCE"]
        assert instance["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_nothing_that_is_scaled_has_a_number_of_replicas() -> None:
    assert [name_of(one) for where in BUILT for one in workloads(BUILT[where]) if "replicas" in one["spec"]] == []


def test_the_autoscaler_scales_the_gateway() -> None:
    for _, one, objects in of_kind("HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        assert named(objects, target["kind"], target["name"])["apiVersion"] == target["apiVersion"]
        assert one["spec"]["minReplicas"] < one["spec"]["maxReplicas"]


def test_keda_scales_each_worker_by_its_group_up_to_the_partitions() -> None:
    objects = BUILT["production"]
    settings = named(objects, "ConfigMap", "sendledger")["data"]
    scaled = [one for one in objects if one["kind"] == "ScaledObject"]
    assert {one["spec"]["scaleTargetRef"]["name"] for one in scaled} == {"ledger", "gate"}
    for one in scaled:
        spec = one["spec"]
        assert one["apiVersion"] == "keda.sh/v1alpha1"
        assert spec.keys() == {
            "scaleTargetRef", "pollingInterval", "cooldownPeriod", "minReplicaCount", "maxReplicaCount", "advanced",
            "triggers",
        }  # fmt: skip
        target = spec["scaleTargetRef"]
        assert named(objects, target["kind"], target["name"])["apiVersion"] == target["apiVersion"]
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] == int(settings[f"{PREFIX}PARTITIONS"])
        (trigger,) = spec["triggers"]
        assert trigger.keys() == {"type", "metadata"}
        assert trigger["type"] == "kafka"
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes only strings"
        assert trigger["metadata"].keys() == {
            "bootstrapServersFromEnv", "consumerGroup", "lagThreshold", "offsetResetPolicy",
        }  # fmt: skip
        assert trigger["metadata"]["bootstrapServersFromEnv"] in settings
        group = {"ledger": "CONSUMER_GROUP", "gate": "GATE_GROUP"}[target["name"]]
        assert trigger["metadata"]["consumerGroup"] == settings[PREFIX + group]


def test_pod_monitors_find_each_pod_that_serves_metrics_once() -> None:
    objects = BUILT["production"]
    monitors = [one for one in objects if one["kind"] == "PodMonitor"]
    assert {one["apiVersion"] for one in monitors} == {"monitoring.coreos.com/v1"}
    for workload in workloads(objects):
        (monitor,) = [one for one in monitors if selects(one["spec"]["selector"]["matchLabels"], workload)]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        (job,) = endpoint["relabelings"]
        assert job == {"targetLabel": "job", "replacement": f"sendledger-{monitor['metadata']['name']}"}
        assert endpoint["port"] in {port["name"] for container in containers(workload) for port in container["ports"]}


def test_the_page_health_asks_workers_that_always_run() -> None:
    for where, fewest in (("staging", 1), ("production", 2)):
        urls = named(BUILT[where], "ConfigMap", "sendledger")["data"][f"{PREFIX}WORKER_METRICS"].split(",")
        assert urls == [f"http://{of}-{n}.{of}:9100/metrics" for of in ("ledger", "gate") for n in range(fewest)]


# ---- the builder itself: a mistake in a kustomization is found


@pytest.mark.parametrize(
    ("written", "says"),
    [
        pytest.param("resources: [none.yaml]", "does not exist", id="a file that is missing"),
        pytest.param("resources: [../outside.yaml]", "is outside of", id="a file outside"),
        pytest.param("resources: [one.yaml, one.yaml]", "exists twice", id="an object twice"),
        pytest.param("components: [none]", "there is no", id="a component that is missing"),
        pytest.param("resources: [..]", "contains the folder", id="a circle"),
        pytest.param("commonLabels: {a: b}", "is not understood", id="a feature that is not understood"),
        pytest.param(
            "patches: [{target: {group: '', version: v1, kind: Service, name: b}, patch: '[]'}]",
            "no object is",
            id="a patch of nothing",
        ),
        pytest.param(
            "resources: [one.yaml]\npatches: [{target: {group: '', version: v1, kind: Service, name: a},"
            " patch: '[{op: replace, path: /spec/none, value: 1}]'}]",
            "only `replace`",
            id="a patch of a field that is not there",
        ),
        pytest.param("images: [{name: a, newTag: b}]", "no container", id="an image that nobody has"),
        pytest.param("resources: []\nresources: []", "written twice", id="a key twice"),
    ],
)
def test_a_wrong_kustomization_is_refused(written: str, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    (tmp_path / "kustomization.yaml").write_text(head)
    (tmp_path / "outside.yaml").write_text("")
    (folder / "one.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: []}}")
    (folder / "kustomization.yaml").write_text(head + written)
    with pytest.raises(KustomizeError, match=says):
        build(folder)
