"""What the API server takes of manifests, in silence."""

from __future__ import annotations

from kns.cluster.resolve import resolve
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


def test_load_balancer_ip_on_cluster_ip() -> None:
    """ValidateService never looks at it."""
    text = "spec: {loadBalancerIP: 198.51.100.7, ports: [{port: 80}]}"
    (service,) = resolve(load_lab_text(f"{HEAD}{NODES}{SERVICE}{text}\n").spec).cluster.services[:1]
    assert service.load_balancer_ingress == ()


def test_stateful_set_pod_name_label() -> None:
    """A Service may select one pod by it."""
    loaded = load_lab_text(
        f"{HEAD}{NODES}---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\n"
        "spec:\n  serviceName: db\n  replicas: 2\n  template:\n"
        "    metadata: {labels: {app: db}}\n"
        "    spec: {containers: [{name: c, ports: [{containerPort: 5432}]}]}\n"
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: db-primary}\n"
        "spec: {selector: {statefulset.kubernetes.io/pod-name: db-0}, ports: [{port: 5432}]}\n"
    )
    assert loaded.warnings == ()
    cluster = resolve(loaded.spec).cluster
    (piece,) = (item for item in cluster.endpoint_slices if item.service == "db-primary")
    assert [endpoint.pod for endpoint in piece.endpoints] == ["default/db-0"]
