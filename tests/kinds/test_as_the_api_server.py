"""What the API server takes of manifests, in silence."""

from __future__ import annotations

import pytest

from kns.cluster.resolve import resolve
from kns.errors import SpecError
from kns.kinds.load import load_lab_text
from kns.kinds.service import ServiceType, SessionAffinity
from tests.kinds.labs import HEAD, NODES

SERVICE = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n"


def test_empty_strings() -> None:
    """They come from programs: Go's omitempty keeps a `targetPort: 0`, templates a `name: ""`."""
    lab = load_lab_text(
        f"{HEAD}{NODES}"
        '---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: ""}\n'
        'spec:\n  type: ""\n  sessionAffinity: ""\n  externalTrafficPolicy: ""\n'
        "  selector: {app: web}\n"
        '  ports: [{name: "", port: 80, targetPort: 0, protocol: ""}]\n'
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\n"
        'spec: {hostname: "", subdomain: "", nodeName: "", containers: [{name: c, image: nginx, '
        'ports: [{name: "", protocol: "", containerPort: 80}]}]}\n'
    ).spec
    (service,) = lab.services
    assert (service.namespace, service.type) == ("default", ServiceType.CLUSTER_IP)
    assert service.session_affinity is SessionAffinity.NONE
    assert service.ports[0].target_port == 80


def test_affinity_config_with_none() -> None:
    """SetDefaults_Service drops it before validation sees it."""
    config = "{clientIP: {timeoutSeconds: 10}}"
    text = (
        f"spec: {{sessionAffinity: None, sessionAffinityConfig: {config}, ports: [{{port: 80}}]}}"
    )
    (service,) = load_lab_text(f"{HEAD}{NODES}{SERVICE}{text}\n").spec.services
    assert service.session_affinity is SessionAffinity.NONE


@pytest.mark.parametrize("written", ["198.51.100.7", "None", '""', "x"])
def test_load_balancer_ip_on_cluster_ip(written: str) -> None:
    """ValidateService never looks at it."""
    text = f"spec: {{loadBalancerIP: {written}, ports: [{{port: 80}}]}}"
    (service,) = resolve(load_lab_text(f"{HEAD}{NODES}{SERVICE}{text}\n").spec).cluster.services[:1]
    assert service.load_balancer_ingress == ()


def told(spec: str, *, metadata: str = "") -> list[str]:
    """What is said of fields of a Service with this spec; errors as well as warnings."""
    text = (
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: web{metadata}}}\nspec: {{{spec}}}\n"
    )
    try:
        found = load_lab_text(f"{HEAD}{NODES}{text}").warnings
    except SpecError as error:
        found = error.problems
    return [f"{item.path}: {item.message}" for item in found if item.path != "metadata.name"]


PORTS = "ports: [{port: 80}]"
EXTERNAL = "type: ExternalName, externalName: example.com"
IGNORED = 'is ignored when spec.type is "ExternalName"'
HINTS = "service.kubernetes.io/topology-aware-hints"
RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        (f"loadBalancerIP: 198.51.100.7, {PORTS}", "loadBalancerIP",
         "has no effect: the Service is of type ClusterIP"),
        (f"type: LoadBalancer, loadBalancerIP: None, {PORTS}", "loadBalancerIP",
         '"None" is no IP address: no load balancer can give it'),
        (f"externalName: example.com, {PORTS}", "externalName",
         'is ignored when spec.type is not "ExternalName"'),
        (f"clusterIP: None, externalIPs: [198.51.100.1], {PORTS}", "externalIPs",
         "is ignored for headless services"),
        (f"clusterIP: None, sessionAffinity: ClientIP, {PORTS}", "sessionAffinity",
         "is ignored for headless services"),
        (f"sessionAffinityConfig: {{clientIP: {{timeoutSeconds: 10}}}}, {PORTS}",
         "sessionAffinityConfig", "is dropped: sessionAffinity is None"),
        (f"{EXTERNAL}, selector: {{app: web}}", "selector", IGNORED),
        (f"{EXTERNAL}, externalIPs: [198.51.100.1]", "externalIPs", IGNORED),
        (f"{EXTERNAL}, ports: [{{port: 80, nodePort: 30080}}]", "ports[0].nodePort", IGNORED),
    ],
)  # fmt: skip
def test_what_has_no_effect_in_a_service_is_told(spec: str, path: str, message: str) -> None:
    assert f"spec.{path}: {message}" in told(spec)


@pytest.mark.parametrize(
    ("spec", "metadata", "expected"),
    [
        (f"allocateLoadBalancerNodePorts: true, {PORTS}", "",
         "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is "
         "'LoadBalancer'"),
        (f"{EXTERNAL}, ipFamilies: [IPv4]", "",
         "spec.ipFamilies: Forbidden: may not be set for ExternalName services"),
        (f"{EXTERNAL}, ipFamilyPolicy: SingleStack", "",
         "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"),
        (f"{EXTERNAL}, clusterIP: None", "",
         "spec.clusterIP: Forbidden: may not be set for ExternalName services"),
        (f"clusterIPs: [10.96.0.20], {PORTS}", "",
         'spec.clusterIPs: Invalid value: ["10.96.0.20"]: must be empty when `clusterIP` is not '
         "specified"),
        ("ports: [{port: 80, appProtocol: a b}]", "",
         'spec.ports[0].appProtocol: Invalid value: "a b": name part must consist of alphanumeric '
         "characters, '-', '_' or '.', and must start and end with an alphanumeric character"),
        (PORTS, f", annotations: {{service.kubernetes.io/topology-mode: Auto, {HINTS}: disabled}}",
         'metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": must '
         f"match annotations[{HINTS}] when both are specified"),
        (PORTS, f", annotations: {{{RANGES}: 10.0.0.0/8}}",
         f"metadata.annotations[{RANGES}]: Forbidden: may only be used when `type` is "
         "'LoadBalancer'"),
        (f"type: LoadBalancer, {PORTS}", f', annotations: {{{RANGES}: "10.0.0.0/8, x"}}',
         f'metadata.annotations[{RANGES}]: Invalid value: "x": must be a valid CIDR value, '
         "(e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    ],
)  # fmt: skip
def test_what_the_api_server_refuses_of_a_service(spec: str, metadata: str, expected: str) -> None:
    assert expected in told(spec, metadata=metadata)


def test_a_class_may_stand_in_the_annotation_too() -> None:
    text = (
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n"
        "metadata: {name: a, annotations: {kubernetes.io/ingress.class: nginx}}\n"
        "spec: {ingressClassName: nginx, defaultBackend: {service: {name: w, port: {number: 1}}}}\n"
    )
    assert load_lab_text(f"{HEAD}{NODES}{text}").spec.ingresses[0].ingress_class == "nginx"


def test_a_slice_whose_port_has_another_name() -> None:
    """kube-proxy joins a Service's port and a slice's by name: here they differ."""
    lab = (
        "services: [{name: named, ports: [{name: http, port: 80}]}]\n"
        "endpointSlices:\n- {name: named-1, service: named, ports: [{port: 80}], "
        "endpoints: [{addresses: [203.0.113.10]}]}\n"
    )
    (warning,) = load_lab_text(f"{HEAD}{NODES}{lab}").warnings
    assert (warning.path, warning.message) == (
        "endpointSlices[0].ports[0].name",
        'EndpointSlice named-1 has the port name "" (TCP), Service named has "http" (TCP): '
        "they must be equal",
    )


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("htp", 'did you mean "http"?'),
        ("metrics", "the pods' ports are named http"),
        ("81", "requests to the Service will be refused"),
    ],
)
def test_a_target_port_by_a_name_that_no_pod_has(target: str, hint: str) -> None:
    lab = (
        "pods: [{name: w, labels: {a: w}, containers: [{ports: [{name: http, port: 80}]}]}]\n"
        "services: [{name: w, selector: {a: w}, "
        f"ports: [{{port: 80, targetPort: {target}}}]}}]\n"
    )
    (warning,) = load_lab_text(f"{HEAD}{NODES}{lab}").warnings
    assert warning.hint == hint


def test_stateful_set_pod_name_label() -> None:
    """A Service may select one pod by it."""
    loaded = load_lab_text(
        f"{HEAD}{NODES}---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\n"
        "spec:\n  serviceName: db-primary\n  replicas: 2\n"
        "  selector: {matchLabels: {app: db}}\n  template:\n"
        "    metadata: {labels: {app: db}}\n"
        "    spec: {containers: [{name: c, ports: [{containerPort: 5432}]}]}\n"
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: db-primary}\n"
        "spec: {selector: {statefulset.kubernetes.io/pod-name: db-0}, ports: [{port: 5432}]}\n"
    )
    assert loaded.warnings == ()
    cluster = resolve(loaded.spec).cluster
    (piece,) = (item for item in cluster.endpoint_slices if item.service == "db-primary")
    assert [endpoint.pod for endpoint in piece.endpoints] == ["default/db-0"]


DEPLOYMENT = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
CONTAINERS = "spec: {containers: [{name: c}]}"


@pytest.mark.parametrize(
    ("kind", "selector", "labels", "expected"),
    [
        ("Deployment", "{matchLabels: {app: web}}", "{app: web, x: y}", ""),
        ("Deployment", "{matchExpressions: [{key: app, operator: Exists}]}", "{app: web}", ""),
        ("Deployment", "{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}", "{}", ""),
        ("Deployment", "{matchLabels: {app: web}}", "{app: wbe}",
         "spec.template.metadata.labels: Invalid value: {\"app\": \"wbe\"}: "
         "`selector` does not match template `labels`"),
        ("StatefulSet", "{matchExpressions: [{key: app, operator: In, values: [a]}]}", "{app: b}",
         "spec.template.metadata.labels: Invalid value: {\"app\": \"b\"}: "
         "`selector` does not match template `labels`"),
        ("Deployment", "", "{app: web}", "spec.selector: Required value"),
        ("DaemonSet", "null", "{app: web}", "spec.selector: Required value"),
        ("ReplicaSet", "{}", "{app: web}",
         "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        ("DaemonSet", "{matchLabels: {}}", "{app: web}",
         "spec.selector: Invalid value: {}: empty selector is invalid for daemonset"),
        ("ReplicationController", "", "{app: web}", ""),
        ("ReplicationController", "{app: web}", "{app: web}", ""),
        ("ReplicationController", "", "{}", "spec.selector: Required value"),
        ("ReplicationController", "{app: web}", "{app: x}",
         "spec.template.metadata.labels: Invalid value: {\"app\": \"x\"}: "
         "`selector` does not match template `labels`"),
    ],
)  # fmt: skip
def test_a_selector_matches_its_template(
    kind: str, selector: str, labels: str, expected: str
) -> None:
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    written = f"  selector: {selector}\n" if selector else ""
    text = (
        f"---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n{written}"
        f"  template: {{metadata: {{labels: {labels}}}, {CONTAINERS}}}\n"
    )
    assert refused(text) == ([expected] if expected else [])


def refused(manifests: str) -> list[str]:
    """The errors of a lab with these manifests."""
    try:
        load_lab_text(f"{HEAD}{NODES}{manifests}")
    except SpecError as error:
        return [f"{problem.path}: {problem.message}" for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ("{}", "spec.containers: Required value"),
        ("{containers: []}", "spec.containers: Required value"),
        ("{containers: [{}]}", "spec.containers[0].name: Required value"),
    ],
)
def test_a_pod_has_containers_with_names(pod: str, expected: str) -> None:
    """The Lab document's short form alone may leave them out."""
    text = f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {pod}\n"
    assert refused(text) == [expected]


def test_what_makes_pods_restarts_them() -> None:
    spec = (
        "spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, "
        "spec: {restartPolicy: Never, containers: [{name: c}]}}}\n"
    )
    assert refused(DEPLOYMENT + spec) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]


@pytest.mark.parametrize(
    ("kube_proxy", "refuses"),
    [
        ('kubeProxyMode: nftables, kubeProxy: {version: "1.36"}', True),
        ('kubeProxyMode: nftables, kubeProxy: {version: "1.37"}', False),
        ('kubeProxyMode: iptables, kubeProxy: {version: "1.36"}', False),
    ],
)
def test_a_name_too_long_for_a_comment_of_nftables(kube_proxy: str, *, refuses: bool) -> None:
    """namespace/name:port of 63, 63 and 15 bytes; up to 1.36 kube-proxy doesn't cut it."""
    service = (
        f"---\napiVersion: v1\nkind: Service\n"
        f"metadata: {{name: {'w' * 63}, namespace: {'n' * 63}}}\n"
        f"spec:\n  ports:\n  - {{name: {'p' * 15}, port: 80}}\n"
    )
    lab = f"{HEAD}networking: {{{kube_proxy}}}\n{NODES}"
    found = load_lab_text(f"{lab}{service}").warnings
    told = [item for item in found if "bytes, and nft takes 128" in item.message]
    assert [item.path for item in told] == (["spec.ports[0].name"] if refuses else [])
    assert all(item.line == 12 and "1.37" in item.hint for item in told)


def _with_strategy(kind: str, field: str, strategy: str) -> str:
    """A lab with a workload whose pods are replaced so."""
    name = "\n  serviceName: web" if kind == "StatefulSet" else ""
    template = "{metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}"
    return (
        f"{HEAD}{NODES}---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web}}\n"
        f"spec:\n  selector: {{matchLabels: {{app: web}}}}\n  template: {template}\n"
        f"  {field}: {strategy}{name}\n"
    )


@pytest.mark.parametrize(
    ("kind", "field", "strategy"),
    [
        ("Deployment", "strategy", "{}"),
        ("Deployment", "strategy", '{type: ""}'),
        ("Deployment", "strategy", "{type: Recreate, rollingUpdate: null}"),
        ("Deployment", "strategy", "{rollingUpdate: {maxSurge: 0, maxUnavailable: 150%}}"),
        ("DaemonSet", "updateStrategy", "{type: OnDelete}"),
        ("StatefulSet", "updateStrategy", "{rollingUpdate: {partition: 1}}"),
    ],
)
def test_strategies(kind: str, field: str, strategy: str) -> None:
    assert load_lab_text(_with_strategy(kind, field, strategy)).spec.workloads


@pytest.mark.parametrize(
    ("kind", "field", "strategy", "told"),
    [
        ("Deployment", "strategy", "{type: OnDelete}", 'type: Unsupported value: "OnDelete"'),
        ("Deployment", "strategy", "{rollingUpdate: {maxSurge: 1.5}}", "a valid percent string"),
        ("Deployment", "strategy", "{rollingUpdate: {maxSurge: ten%}}", "a valid percent string"),
        ("DaemonSet", "updateStrategy", "{rollingUpdate: {maxUnavailable: -1}}", "equal to 0"),
        ("StatefulSet", "updateStrategy", "{rollingUpdate: {partition: -1}}", "partition"),
    ],
)
def test_strategies_that_are_none(kind: str, field: str, strategy: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_lab_text(_with_strategy(kind, field, strategy))
    assert told in str(caught.value.problems[0])
