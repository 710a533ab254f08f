"""Loading labs: short forms, warnings, manifests, files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kns.errors import MOST_PROBLEMS, Severity, SpecError
from kns.kinds.lab import Lab
from kns.kinds.load import load_lab, load_lab_text, read_lab
from kns.kinds.namespace import Namespace
from kns.kinds.placement import expand_pods
from kns.kinds.pod import Container, Pod
from kns.labfile.parse import parse_stream
from tests.kinds.labs import HEAD, NODES, lab, problems

RICH = Path(__file__).parent / "rich.yaml"


def placed(body: str, bound: dict[str, str] | None = None) -> list[tuple[str, str]]:
    pods = [item.pod for item in expand_pods(lab(body).spec, bound)]
    return [(pod.full_name, pod.node) for pod in pods]


def ports_of(container: Container) -> tuple[tuple[str, int, str], ...]:
    return tuple((port.name, port.port, str(port.protocol)) for port in container.ports)


def templates(lab: Lab) -> list[Pod]:
    return [workload.template for workload in lab.workloads]


def own_pods(lab: Lab) -> list[Pod]:
    """The pods that the file names, without kns' own."""
    return [item.pod for item in expand_pods(lab) if item.workload >= 0]


# -- short forms -----------------------------------------------------------------------------------


def test_a_pod_without_containers_has_a_server_on_8080() -> None:
    (pod,) = templates(lab("pods: [{name: web}]\n").spec)
    (container,) = pod.containers
    assert container.name == "server"
    assert ports_of(container) == (("", 8080, "TCP"),)


def test_port_is_short_for_ports() -> None:
    (pod,) = templates(lab("pods: [{name: web, containers: [{port: 80}, {port: 81}]}]\n").spec)
    first, second = pod.containers
    assert [first.name, second.name] == ["server", "server-2"]
    assert ports_of(second) == (("", 81, "TCP"),)


def test_port_and_ports_add_up() -> None:
    body = "pods: [{name: web, containers: [{port: 1, ports: [{name: x, containerPort: 2}]}]}]\n"
    (pod,) = templates(lab(body).spec)
    assert ports_of(pod.containers[0]) == (("", 1, "TCP"), ("x", 2, "TCP"))


def test_replicas_go_round_robin_over_the_nodes() -> None:
    body = "networking: {dns: {enabled: false}}\npods: [{name: web, replicas: 3}, {name: api}]\n"
    assert placed(body) == [
        ("default/web-1", "node1"),
        ("default/web-2", "node2"),
        ("default/web-3", "node1"),
        ("default/api", "node2"),
    ]


def test_replicas_with_a_node_stay_there_and_none_is_none() -> None:
    body = "pods: [{name: web, replicas: 2, node: node2}, {name: no, replicas: 0}]\n"
    assert placed(body)[:2] == [("default/web-1", "node2"), ("default/web-2", "node2")]
    assert "default/no-1" not in dict(placed(body))


def test_dns_pods_are_spread() -> None:
    assert placed("") == [("kube-system/coredns-1", "node1"), ("kube-system/coredns-2", "node2")]


def test_bound_pods_stay_where_they_are() -> None:
    body = "networking: {dns: {enabled: false}}\npods: [{name: web, replicas: 3}]\n"
    bound = {"default/web-1": "node2", "default/web-3": "gone"}
    assert [node for _, node in placed(body, bound)] == ["node2", "node2", "node1"]


def test_a_field_without_a_value_is_one_left_out() -> None:
    spec = lab("pods:\nservices:\nnetworking:\n  mtu:\n  dns:\n").spec
    assert (spec.workloads, spec.services, spec.networking.mtu) == ((), (), 1500)


def test_an_empty_label_is_not_left_out() -> None:
    assert problems("services: [{name: a, ports: [{port: 80}], selector: {app: }}]\n") == [
        "services[0].selector.app: must be a string, not null"
    ]


def test_a_slices_port_without_a_name_may_say_so() -> None:
    """The endpoint slice controller writes `name: ""` for a Service's one unnamed port."""
    text = (
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, "
        "metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}"
    )
    body = (
        "services: [{name: db, ports: [{port: 80}]}]\n---\n"
        f'{text}, addressType: IPv4, ports: [{{name: "", port: 80}}],'
        " endpoints: [{addresses: [203.0.113.10]}]}\n"
    )
    assert [port.name for port in lab(body).spec.endpoint_slices[0].ports] == [""]


# -- warnings --------------------------------------------------------------------------------------


def warnings(body: str) -> list[str]:
    found = lab(body).warnings
    assert all(warning.severity is Severity.WARNING for warning in found)
    return [f"{warning.path}: {warning.message}" for warning in found]


def test_a_selector_that_matches_nothing_is_a_warning() -> None:
    body = (
        "pods: [{name: web, labels: {app: web}}]\n"
        "services: [{name: web, selector: {app: wbe}, ports: [{port: 80, targetPort: 8080}]}]\n"
    )
    assert warnings(body) == [
        "services[0].selector: no pod of the namespace default has the labels app=wbe"
    ]
    assert lab(body).warnings[0].hint == 'did you mean "app=web"?'


def test_a_selector_of_a_workload_that_is_scaled_to_zero_is_none() -> None:
    pods = "pods: [{name: web, replicas: 0, labels: {app: web}}]\n"
    ports = "ports: [{port: 80, targetPort: 8080}]"
    assert warnings(f"{pods}services: [{{name: web, selector: {{app: web}}, {ports}}}]\n") == []
    more = "namespaces: [shop]\n"
    elsewhere = f"services: [{{name: web, namespace: shop, selector: {{app: web}}, {ports}}}]\n"
    assert warnings(pods + more + elsewhere) == [
        "services[0].selector: no pod of the namespace shop has the labels app=web"
    ]


def test_a_target_port_that_nobody_has_is_a_warning() -> None:
    body = (
        "pods:\n"
        "- {name: web, labels: {app: web}, containers: [{ports: [{name: web, port: 8080}]}]}\n"
        "services:\n"
        "- {name: a, selector: {app: web}, ports: [{port: 80}]}\n"
        "- {name: b, selector: {app: web}, ports: [{port: 80, targetPort: http}]}\n"
        "- {name: c, selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: UDP}]}\n"
        "- {name: d, selector: {app: web}, ports: [{port: 80, targetPort: web}]}\n"
    )
    assert warnings(body) == [
        "services[0].ports[0].port: no selected pod has the port 80/TCP",
        'services[1].ports[0].targetPort: no selected pod has the port "http"',
        "services[2].ports[0].targetPort: no selected pod has the port 8080/UDP",
    ]


def test_a_process_may_open_any_port() -> None:
    body = (
        "pods: [{name: web, labels: {app: web}, containers: [{command: [nc, -l, '80']}]}]\n"
        "services: [{name: a, selector: {app: web}, ports: [{port: 80}]}]\n"
    )
    assert warnings(body) == []


def test_a_service_with_nothing_behind_it_is_a_warning() -> None:
    body = (
        "services:\n- {name: a, ports: [{port: 80}]}\n"
        "- {name: b, type: ExternalName, externalName: x}\n"
        "endpointSlices: [{name: c, service: aa}]\n"
    )
    assert warnings(body) == [
        "services[0].name: the Service has no selector and no EndpointSlice: nothing is behind it",
        "endpointSlices[0].service: there is no Service default/aa",
    ]


# -- manifests -------------------------------------------------------------------------------------


def with_manifests(text: str) -> str:
    return f"{HEAD}{NODES}networking: {{dns: {{enabled: false}}}}\n---\n{text}"


def test_a_deployment_becomes_its_pods() -> None:
    text = with_manifests(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n"
        "spec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n"
        "  template:\n    metadata: {labels: {app: web}}\n"
        "    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}\n"
    )
    spec = load_lab_text(text).spec
    pods = own_pods(spec)
    assert [pod.full_name for pod in pods] == ["shop/web-1", "shop/web-2"]
    hashed = pods[0].labels["pod-template-hash"]
    assert dict(pods[0].labels) == {"app": "web", "pod-template-hash": hashed}
    assert ports_of(pods[0].containers[0]) == (("", 80, "TCP"),)


def test_a_deployment_without_replicas_has_one() -> None:
    text = with_manifests(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
        "spec: {selector: {matchLabels: {a: b}}, "
        "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}}\n"
    )
    assert [pod.name for pod in own_pods(load_lab_text(text).spec)] == ["web-1"]


def test_a_stateful_set_counts_from_zero_and_names_its_pods() -> None:
    text = with_manifests(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\n"
        "spec:\n  replicas: 2\n  serviceName: peers\n"
        "  selector: {matchLabels: {a: b}}\n"
        "  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}\n"
    )
    pods = own_pods(load_lab_text(text).spec)
    found = [(pod.name, pod.hostname, pod.subdomain) for pod in pods]
    assert found == [("db-0", "db-0", "peers"), ("db-1", "db-1", "peers")]


def test_a_daemon_set_has_a_pod_on_each_node() -> None:
    text = with_manifests(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\n"
        "spec: {selector: {matchLabels: {a: b}}, "
        "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}}\n"
    )
    pods = own_pods(load_lab_text(text).spec)
    assert [(pod.name, pod.node) for pod in pods] == [("agent-1", "node1"), ("agent-2", "node2")]


def test_a_command_of_an_image_is_not_run() -> None:
    text = with_manifests(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n"
        "  - {name: a, image: x, command: [/x], args: [y]}\n  - {name: b, command: [sleep]}\n"
    )
    loaded = load_lab_text(text)
    (pod,) = templates(loaded.spec)
    assert [container.command for container in pod.containers] == [(), ("sleep",)]
    (warning,) = loaded.warnings
    assert (warning.line, warning.path) == (12, "spec.containers[0].command")


def test_a_probe_of_an_image_runs_what_this_machine_has() -> None:
    probe = "readinessProbe: {exec: {command: [pg_isready]}}"
    text = with_manifests(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: db}\nspec:\n  containers:\n"
        f"  - {{name: a, image: postgres, {probe}}}\n  - {{name: b, {probe}}}\n"
    )
    (warning,) = load_lab_text(text).warnings
    assert (warning.path, warning.message) == (
        "spec.containers[0].readinessProbe.exec",
        'runs a program of this machine: kns has no image "postgres"',
    )


def test_kinds_without_effect_are_told_and_bookkeeping_is_not() -> None:
    text = with_manifests(
        "apiVersion: food.example.com/v1\nkind: Ingredient\nmetadata: {name: x}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n"
    )
    (warning,) = load_lab_text(text).warnings
    assert warning.message == "objects of kind Ingredient have no effect here"


def test_a_namespace_is_one_of_the_lab() -> None:
    text = with_manifests("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    assert load_lab_text(text).spec.namespaces == (Namespace("shop"),)


# -- errors ----------------------------------------------------------------------------------------


def test_a_broken_node_does_not_make_its_pods_wrong() -> None:
    nodes = "nodes: [{name: node1}, {name: node2, zoned: a}]\n"
    assert problems("pods: [{name: web, node: node2}]\n", nodes=nodes) == [
        'nodes[1].zoned: unknown field "zoned"'
    ]


def test_a_broken_item_hides_no_later_one_and_indexes_stay() -> None:
    body = "pods: [{name: A}, {name: web}, {name: web}]\n"
    found = problems(body)
    assert found[1:] == ['pods[2].name: Duplicate value: "web"']


def test_wrong_subnets_do_not_make_addresses_wrong() -> None:
    body = (
        "networking: {serviceSubnet: 10.0.0.0}\n"
        "services: [{name: a, clusterIP: 10.9.0.9, ports: [{port: 80}]}]\n"
    )
    assert len(problems(body)) == 1


def test_a_mistake_in_a_shared_anchor_is_told_at_both_places() -> None:
    body = "pods: [{name: a, labels: &l {x: 1}}, {name: b, labels: *l}]\n"
    assert problems(body) == [
        "pods[0].labels.x: must be a string, not the number 1",
        "pods[1].labels.x: must be a string, not the number 1",
    ]


def test_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SpecError) as caught:
            load_lab(path)
        (problem,) = caught.value.problems
        assert problem.file == str(path)
        assert problem.message.startswith("can't be read: ")


def test_load_lab_reads_the_file_and_calls_it_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("kind: Lab\n")
    assert read_lab(path) == b"kind: Lab\n"
    with pytest.raises(SpecError) as caught:
        load_lab(path)
    assert {problem.file for problem in caught.value.problems} == {str(path)}


def test_the_rich_lab_has_only_the_warnings_it_is_meant_to_have() -> None:
    assert [warning.line for warning in load_lab(RICH).warnings] == [
        31,
        31,
        69,
        71,
        92,
        94,
        100,
        114,
    ]


def test_loading_is_fast() -> None:
    """A thousand pods, one by one: two and a half times what reading the YAML alone takes."""
    pods = "".join(
        f"- {{name: web-{i}, node: n{i % 4}, labels: {{app: a, tier: web}}, "
        "containers: [{name: web, port: 8080}, {name: side, port: 9090}]}\n"
        for i in range(1000)
    )
    text = f"{HEAD}nodes: [{{name: n0}}, {{name: n1}}, {{name: n2}}, {{name: n3}}]\npods:\n{pods}"

    def ratio() -> float:
        begin = time.process_time()
        parse_stream(text, "lab.yaml")
        parsed = time.process_time()
        load_lab_text(text)
        return (time.process_time() - parsed) / (parsed - begin)

    # the collector may walk all that other tests left just then: the best of three rounds counts
    assert min(ratio() for _ in range(3)) < 6


# -- errors and warnings in one round; very many of them -------------------------------------------

WARNED = "services: [{name: s, selector: {app: nobody}, ports: [{port: 80}]}]\n"


def test_warnings_come_with_the_errors_that_leave_them_true() -> None:
    with pytest.raises(SpecError) as caught:
        lab("pods: [{name: a, node: nope}]\n" + WARNED)
    assert [problem.path for problem in caught.value.problems] == ["pods[0].node"]
    assert [problem.path for problem in caught.value.warnings] == ["services[0].selector"]


def test_no_warning_speaks_of_objects_that_could_not_be_read() -> None:
    """The Service may select the pod whose labels are not known."""
    with pytest.raises(SpecError) as caught:
        lab("pods: [{name: a, labels: 5}]\n" + WARNED)
    assert caught.value.warnings == ()


@pytest.mark.parametrize(
    "many",
    [
        "pods:\n" + "- {name: a, bogus: 1}\n" * 5000,
        "".join(f"bogus{number}: 1\n" for number in range(5000)),
        "pods: [{name: a, " + ", ".join(f"bogus{number}: 1" for number in range(5000)) + "}]\n",
        "---\n" + "---\n".join(["apiVersion: v9\nkind: Nope\nmetadata: {name: x}\n"] * 5000),
    ],
    ids=["items", "keys", "keys of an item", "documents"],
)
def test_a_file_full_of_problems_is_not_read_to_its_end(many: str) -> None:
    with pytest.raises(SpecError) as caught:
        lab(many)
    assert MOST_PROBLEMS < len(caught.value.problems) < MOST_PROBLEMS + 10
    assert "what comes after these was not read" in caught.value.problems[0].message
