"""What pods say besides containers and ports: sidecars, names of their own, variables."""

from __future__ import annotations

import pytest

from kns.cluster.environment import container_environment, service_environment
from kns.cluster.model import Cluster
from kns.cluster.podfiles import pod_files
from kns.cluster.resolve import resolve
from kns.kinds.load import LoadedLab
from kns.kinds.pod import Pod
from kns.report.get import endpoints_text
from tests.kinds.labs import lab, problems

HEAD = "---\napiVersion: v1\n"


def cluster(body: str) -> Cluster:
    return resolve(lab(body).spec).cluster


def pod(body: str, name: str = "web") -> tuple[Cluster, Pod]:
    found = cluster(body)
    wanted = found.pod("default", name)
    assert wanted is not None
    return found, wanted


def warnings(loaded: LoadedLab) -> list[str]:
    return [f"{warning.line}: {warning.path}: {warning.message}" for warning in loaded.warnings]


# -- ports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        (
            "pods: [{name: a, containers: [{name: a, port: 80}, {name: b, port: 80}]}]",
            "5: pods[0].containers[1].port: duplicate port definition with"
            " pods[0].containers[0].port",
        ),
        (
            "pods: [{name: a, containers: [{name: a, ports: [{port: 1, name: x}, {port: 1}]}]}]",
            "5: pods[0].containers[0].ports[1]: duplicate port definition with"
            " pods[0].containers[0].ports[0]",
        ),
        (
            HEAD + "kind: Pod\nmetadata: {name: a}\nspec:\n"
            "  containers: [{name: a, ports: [{containerPort: 80}]}]\n"
            "  initContainers: [{name: b, restartPolicy: Always, ports: [{containerPort: 80}]}]",
            "11: spec.initContainers[0].ports[0]: duplicate port definition with"
            " spec.containers[0].ports[0]",
        ),
    ],
)
def test_a_port_twice_is_warned_of(pods: str, expected: str) -> None:
    assert warnings(lab(pods)) == [expected]


def test_one_port_for_two_protocols_is_two_ports() -> None:
    ports = "[{port: 53}, {port: 53, protocol: UDP}]"
    assert warnings(lab(f"pods: [{{name: a, containers: [{{name: a, ports: {ports}}}]}}]")) == []


def test_a_sidecar_has_ports_and_an_init_container_has_none() -> None:
    found, web = pod(
        HEAD + "kind: Pod\nmetadata: {name: web, labels: {app: web}}\nspec:\n"
        "  containers: [{name: web, image: x, ports: [{containerPort: 80}]}]\n"
        "  initContainers:\n"
        "  - {name: tls, image: x, restartPolicy: Always,"
        " ports: [{name: https, containerPort: 9443}]}\n"
        "  - {name: setup, image: x, command: [sh], ports: [{name: no, containerPort: 9}]}\n"
        + HEAD
        + "kind: Service\nmetadata: {name: web}\n"
        "spec: {selector: {app: web}, ports: [{port: 443, targetPort: https}]}\n"
    )
    assert [item.name for item in web.containers] == ["web", "tls"]
    assert endpoints_text(found.services[0], found.endpoint_slices) == "10.244.0.2:9443"


def test_an_init_container_that_ends_is_warned_of() -> None:
    body = HEAD + "kind: Pod\nmetadata: {name: a}\nspec:\n"
    body += "  containers: [{name: c, image: x}]\n"
    body += "  initContainers: [{name: setup, image: x, command: [sh]}]\n"
    (warning,) = warnings(lab(body))
    assert warning.startswith("11: spec.initContainers[0]: not run")


SILENT = "kind: Pod\nmetadata: {name: web, labels: {app: web}}\n"
SELECTS = HEAD + "kind: Service\nmetadata: {name: s}\nspec: {selector: {app: web}, ports: %s}\n"


@pytest.mark.parametrize(
    ("containers", "ports", "listens"),
    [
        ("[{name: c, image: x}]", "[{port: 80}]", {"c": [80]}),
        ("[{name: c, image: x}]", "[{port: 80, targetPort: 8080}]", {"c": [8080]}),
        ("[{name: c, image: x}]", "[{port: 80, targetPort: web}]", {"c": []}),
        (
            "[{name: c, image: x}, {name: d, image: x}]",
            "[{name: a, port: 80}, {name: b, port: 81}]",
            {"c": [80, 81], "d": []},
        ),
        # what somebody lists is his
        (
            "[{name: c, image: x}, {name: d, image: x, ports: [{containerPort: 80}]}]",
            "[{name: a, port: 80}, {name: b, port: 81}]",
            {"c": [81], "d": [80]},
        ),
        (
            "[{name: c, image: x, ports: [{containerPort: 9}]}]",
            "[{port: 80, targetPort: 9}]",
            {"c": [9]},
        ),
    ],
)
def test_a_container_without_ports_listens_where_its_services_say(
    containers: str, ports: str, listens: dict[str, list[int]]
) -> None:
    _, web = pod(HEAD + SILENT + f"spec: {{containers: {containers}}}\n" + SELECTS % ports)
    assert {c.name: [port.port for port in c.ports] for c in web.containers} == listens


def test_a_service_of_a_container_without_ports_is_not_warned_of() -> None:
    body = HEAD + SILENT + "spec: {containers: [{name: c, image: x}]}\n" + SELECTS % "[{port: 80}]"
    assert warnings(lab(body)) == []


# -- names and variables ---------------------------------------------------------------------------


def test_host_aliases_end_the_hosts_file() -> None:
    found, web = pod(
        "pods: [{name: web, hostAliases: [{ip: 203.0.113.10, hostnames: [a.remote, b.remote]},"
        " {ip: '2001:db8::1', hostnames: [c]}]}]"
    )
    assert pod_files(found, web)["hosts"].endswith(
        "10.244.0.2\tweb\n\n# Entries added by HostAliases.\n"
        "203.0.113.10\ta.remote\tb.remote\n2001:db8::1\tc\n"
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{ip: nowhere, hostnames: [a]}", "hostAliases[0].ip: Invalid value"),
        ("{hostnames: [a]}", "hostAliases[0].ip: Required value"),
        ("{ip: 1.2.3.4, hostnames: [A_b]}", "hostAliases[0].hostnames[0]: Invalid value"),
    ],
)
def test_wrong_host_aliases(entry: str, expected: str) -> None:
    (problem,) = problems(f"pods: [{{name: web, hostAliases: [{entry}]}}]")
    assert problem.startswith(f"pods[0].{expected}")


def variables(env: str, more: str = "", container: str = "") -> dict[str, str]:
    found, web = pod(
        HEAD
        + "kind: Pod\nmetadata: {name: web, labels: {app: a, x/y: z}, annotations: {n: $(A)}}\n"
        "spec:\n  nodeName: node2\n  serviceAccountName: robot\n"
        f"  containers: [{{name: c, env: {env}{container}}}]\n{more}"
    )
    own = [(variable.name, variable.value) for variable in web.containers[0].env]
    return dict(container_environment(own, service_environment(found, web)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.labels['x/y']", "z"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['n']", "$(A)"),
        ("spec.nodeName", "node2"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.244.1.2"),
        ("status.podIPs", "10.244.1.2"),
        ("status.hostIP", "172.18.0.3"),
        ("status.hostIPs", "172.18.0.3"),
    ],
)
def test_a_variable_may_be_a_field_of_the_pod(path: str, value: str) -> None:
    source = f'valueFrom: {{fieldRef: {{fieldPath: "{path}"}}}}'
    env = f"[{{name: A, {source}}}, {{name: B, value: <$(A)>}}]"
    found = variables(env)
    assert (found["A"], found["B"]) == (value, f"<{value}>")


CONFIG = (
    HEAD + "kind: ConfigMap\nmetadata: {name: cm}\ndata: {k: v$(A)w, not-a-name!: x}\n"
    + HEAD + "kind: Secret\nmetadata: {name: s}\ndata: {p: aGVsbG8=}\nstringData: {q: plain}\n"
)  # fmt: skip


def test_a_variable_may_be_a_key_of_an_object_in_the_file() -> None:
    env = (
        "[{name: K, valueFrom: {configMapKeyRef: {name: cm, key: k}}},"
        " {name: P, valueFrom: {secretKeyRef: {name: s, key: p}}}, {name: R, value: $(P)}]"
    )
    found = variables(env, CONFIG, ", envFrom: [{prefix: CM_, configMapRef: {name: cm}},"
                                   " {secretRef: {name: s}}]")  # fmt: skip
    wanted = {
        "K": "v$(A)w",
        "P": "hello",
        "R": "hello",
        "CM_k": "v$(A)w",
        "p": "hello",
        "q": "plain",
    }
    assert wanted.items() <= found.items()
    assert "CM_not-a-name!" not in found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("configMapKeyRef: {name: no, key: k}", 'there is no ConfigMap "no"'),
        ("secretKeyRef: {name: no, key: k}", 'there is no Secret "no"'),
        ("configMapKeyRef: {name: cm, key: no}", 'the ConfigMap "cm" has no key "no"'),
        ("resourceFieldRef: {resource: limits.cpu}", "kns has no resources"),
        ("configMapKeyRef: {name: no, key: k, optional: true}", ""),
    ],
)
def test_a_key_that_is_not_there_is_left_out_with_a_warning(source: str, expected: str) -> None:
    env = f"[{{name: A, valueFrom: {{{source}}}}}]"
    body = f"pods: [{{name: web, containers: [{{name: c, env: {env}}}]}}]\n{CONFIG}"
    loaded = lab(body)
    assert [container.env for container in loaded.spec.workloads[0].template.containers] == [()]
    where = "5: pods[0].containers[0].env[0].valueFrom"
    assert warnings(loaded) == ([f"{where}: left out: {expected}"] if expected else [])


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}", "may not have"),
        ("{name: A, valueFrom: {}}", "must specify one of"),
        ("{name: A, valueFrom: {fieldRef: {fieldPath: spec.hostname}}}", "Invalid value"),
        ("{name: A, valueFrom: {fieldRef: {}}}", "Required value"),
        ("{name: A, valueFrom: {secretKeyRef: {name: s}}}", "Required value"),
        (
            "{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name},"
            " secretKeyRef: {name: a, key: b}}}",
            "may not have more than one field",
        ),
    ],
)
def test_wrong_variables(variable: str, expected: str) -> None:
    (problem,) = problems(f"pods: [{{name: web, containers: [{{name: c, env: [{variable}]}}]}}]")
    assert problem.startswith("pods[0].containers[0].env[0]")
    assert expected in problem


# -- what has no effect ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("securityContext: {sysctls: [{name: net.ipv4.ip_forward, value: '1'}]}", "sysctls"),
        ("topologySpreadConstraints: [{maxSkew: 1}]", "topologySpreadConstraints"),
        (
            "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: []}}",
            "podAntiAffinity",
        ),
        (
            "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: []}}",
            "podAffinity",
        ),
        (
            "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{}]}}",
            "preferredDuringSchedulingIgnoredDuringExecution",
        ),
        ("setHostnameAsFQDN: true", "setHostnameAsFQDN"),
        ("readinessGates: [{conditionType: x}]", ""),
        ("schedulingGates: [{name: x}]", "schedulingGates"),
        ("runtimeClassName: gvisor", "runtimeClassName"),
        ("setHostnameAsFQDN: false", ""),
        ("hostUsers: false, shareProcessNamespace: true, volumes: [{name: v}]", ""),
        ("terminationGracePeriodSeconds: 5, priorityClassName: x, hostPID: true", ""),
    ],
)
def test_a_field_without_effect_is_warned_of_once(spec: str, path: str) -> None:
    template = f"{{metadata: {{labels: {{a: b}}}}, spec: {{{spec}, containers: [{{name: c}}]}}}}"
    body = (
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
        f"spec: {{replicas: 2, selector: {{matchLabels: {{a: b}}}}, template: {template}}}\n"
    )
    found = [warning.path for warning in lab(body).warnings]
    assert [where.rpartition(".")[2] for where in found] == ([path] if path else [])
    assert all(where.startswith("spec.template.spec.") for where in found)


def test_annotations_for_others_are_warned_of() -> None:
    annotations = "{k8s.v1.cni.cncf.io/networks: macvlan, sidecar.istio.io/inject: 'true', a: b}"
    body = HEAD + f"kind: Pod\nmetadata: {{name: a, annotations: {annotations}}}\n"
    found = lab(body + "spec: {containers: [{name: c, image: x}]}\n").warnings
    assert [warning.message.partition(":")[0] for warning in found] == ["no effect here"] * 2
