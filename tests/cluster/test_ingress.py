"""Ingresses of a lab file in the cluster: classes, sites, certificates, backends, the way in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kns.addresses import IPFamily
from kns.cluster.ingress import (
    Site,
    certificates,
    controller_service,
    endpoints,
    entrance,
    host_matches,
    served,
    serves_host,
    sites,
)
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.ingress import IngressBackend, IngressClass, PathType
from kns.kinds.service import ServiceType, TrafficPolicy
from tests.kinds.labs import lab

WEB = """
pods:
- {name: web1, node: node1, labels: {app: web}, containers: [{ports: [{name: http, port: 8080}]}]}
- {name: web2, node: node2, labels: {app: web}, containers: [{ports: [{name: http, port: 8080}]}]}
- {name: web3, labels: {app: web}, ready: false, containers: [{ports: [{name: http, port: 8080}]}]}
services:
- {name: web, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
- {name: out, type: ExternalName, externalName: example.com}
"""
SHOP = "{host: shop.test, paths: [{path: /, pathType: Prefix, backend: {service: web, port: 80}}]}"


def cluster_of(body: str) -> Cluster:
    return resolve(lab(WEB + body).spec).cluster


def site(cluster: Cluster, host: str) -> Site:
    return next(item for item in sites(cluster) if item.host == host)


def backend(name: str) -> str:
    return f"{{service: {name}, port: 80}}"


# -- the controller --------------------------------------------------------------------------------


def test_without_ingress_there_is_no_controller() -> None:
    cluster = cluster_of("")
    assert cluster.ingress_controller is None
    assert (served(cluster), certificates(cluster), entrance(cluster)) == ((), (), None)
    assert not any(pod.namespace == "ingress-nginx" for pod in cluster.pods)


def test_an_ingress_implies_a_controller_with_a_node_port_service() -> None:
    cluster = cluster_of(f"ingresses: [{{name: shop, rules: [{SHOP}]}}]")
    service = controller_service(cluster)
    assert cluster.ingress_controller is not None
    assert cluster.ingress_controller.pods == ("ingress-nginx/ingress-nginx-controller-1",)
    assert service is not None
    assert service.type is ServiceType.NODE_PORT
    door = entrance(cluster)
    assert door is not None
    assert (door.address, door.node) == (cluster.nodes[0].addresses[0], cluster.nodes[0])
    assert (door.http, door.https) == tuple(port.node_port for port in service.ports)


def test_with_a_load_balancer_the_controllers_service_has_its_address() -> None:
    cluster = cluster_of(
        f"loadBalancer: {{pool: 192.0.2.0/28}}\ningresses: [{{name: shop, rules: [{SHOP}]}}]"
    )
    door = entrance(cluster)
    assert door is not None
    assert door.service.type is ServiceType.LOAD_BALANCER
    assert door.address == door.service.load_balancer_ingress[0].ip
    assert (door.http, door.https, door.node) == (80, 443, None)


def test_the_controllers_pods_run_nginx_on_nodes_in_turn() -> None:
    cluster = cluster_of(
        "ingressController: {replicas: 3, service: {externalTrafficPolicy: Local,"
        " nodePorts: {http: 30080, https: 30443}}}"
    )
    pods = [pod for pod in cluster.pods if pod.namespace == "ingress-nginx"]
    service = controller_service(cluster)
    assert [pod.node for pod in pods] == ["node1", "node2", "node1"]
    assert {container.component for pod in pods for container in pod.containers} == {"nginx"}
    assert service is not None
    assert service.external_traffic_policy is TrafficPolicy.LOCAL
    assert [port.node_port for port in service.ports] == [30080, 30443]
    slices = [item for item in cluster.endpoint_slices if item.service == service.name]
    assert [port.port for port in slices[0].ports] == [80, 443]
    assert len(slices[0].endpoints) == 3


def test_a_local_policy_enters_where_a_controller_is() -> None:
    cluster = cluster_of("ingressController: {service: {externalTrafficPolicy: Local}}")
    moved = tuple(
        replace(pod, node="node2") if pod.namespace == "ingress-nginx" else pod
        for pod in cluster.pods
    )
    door = entrance(replace(cluster, pods=moved))
    assert door is not None
    assert door.node is not None
    assert door.node.name == "node2"


def test_another_family_has_another_door() -> None:
    cluster = cluster_of("networking: {ipFamily: dual}\ningressController: {}")
    door = entrance(cluster, IPFamily.IPV6)
    assert door is not None
    assert door.address.version == 6


# -- classes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ingress", "classes", "expected"),
    [
        ("", "", ["shop"]),
        ("ingressClassName: nginx,", "", ["shop"]),
        ("annotations: {kubernetes.io/ingress.class: nginx},", "", ["shop"]),
        ("ingressClassName: other,", "", []),
        ("ingressClassName: a,", "[{name: a}]", ["shop"]),
        ("ingressClassName: a,", "[{name: a, controller: example.com/a}]", []),
        (
            "",
            "[{name: a, controller: example.com/a,"
            ' annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}]',
            [],
        ),
    ],
)
def test_the_class_says_who_serves(ingress: str, classes: str, expected: list[str]) -> None:
    body = f"ingresses: [{{name: shop, {ingress} rules: [{SHOP}]}}]\n"
    cluster = cluster_of(body + (f"ingressClasses: {classes}" if classes else ""))
    assert [item.name for item in served(cluster)] == expected


def test_the_own_class_has_the_name_that_the_lab_gives_it() -> None:
    cluster = cluster_of("ingressController: {class: public}")
    ours = IngressClass("public", "k8s.io/ingress-nginx", is_default=False)
    assert cluster.ingress_classes == (ours,)


# -- sites -----------------------------------------------------------------------------------------


def test_sites_gather_what_all_ingresses_say_of_a_host() -> None:
    second = SHOP.replace("path: /,", "path: /cart,")
    cluster = cluster_of(
        f"ingresses: [{{name: shop, rules: [{SHOP}]}}, {{name: cart, rules: [{second}]}}]"
    )
    found = [(item.ingress.name, item.path) for item in site(cluster, "shop.test").routes]
    assert [(name, path.path if path else "") for name, path in found] == [
        ("shop", "/"),
        ("cart", "/cart"),
    ]


def test_there_is_always_a_site_without_a_host() -> None:
    cluster = cluster_of("ingressController: {}")
    assert sites(cluster) == (Site(""),)


def test_a_default_backend_is_its_hosts_or_everybodys() -> None:
    cluster = cluster_of(
        f"""
ingresses:
- {{name: own, defaultBackend: {backend("own")}, rules: [{SHOP}]}}
- {{name: all, defaultBackend: {backend("all")}}}
- {{name: other, rules: [{SHOP.replace("shop", "other")}]}}
"""
    )
    fallbacks = {item.host: item.fallback for item in sites(cluster)}
    found = {host: route and route.backend.service for host, route in fallbacks.items()}
    assert found == {"": "all", "shop.test": "own", "other.test": "all"}


def test_short_and_long_forms_are_the_same() -> None:
    long = (
        "{host: shop.test, http: {paths: [{path: /, pathType: Prefix,"
        " backend: {service: {name: web, port: {number: 80}}}}]}}"
    )
    short, written = (
        cluster_of(f"ingresses: [{{name: shop, rules: [{rule}]}}]") for rule in (SHOP, long)
    )
    assert short.ingresses == written.ingresses
    assert short.ingresses[0].rules[0].paths[0].path_type is PathType.PREFIX


def test_a_resource_backend_is_left_out() -> None:
    rule = "{paths: [{path: /, pathType: Exact, backend: {resource: {kind: Bucket, name: x}}}]}"
    cluster = cluster_of(f"ingresses: [{{name: shop, rules: [{rule}]}}]")
    assert cluster.ingresses[0].rules[0].paths == ()


# -- certificates ----------------------------------------------------------------------------------

PEM = "-----BEGIN {0}-----\\nMIIB\\n-----END {0}-----\\n"
SECRET = (
    'secrets: [{name: shop, stringData: {tls.crt: "'
    + PEM.format("CERTIFICATE")
    + '", tls.key: "'
    + PEM.format("PRIVATE KEY")
    + '"}}]\n'
)


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("[]", None),
        ("[{hosts: [shop.test]}]", "host.shop.test"),
        ("[{hosts: [other.test]}]", None),
        ('[{hosts: ["*.test"]}]', "host.shop.test"),
        ("[{}]", "host.shop.test"),
        ("[{hosts: [shop.test], secretName: missing}]", "host.shop.test"),
    ],
)
def test_a_host_has_a_certificate_if_tls_covers_it(tls: str, expected: str | None) -> None:
    cluster = cluster_of(f"ingresses: [{{name: shop, tls: {tls}, rules: [{SHOP}]}}]")
    found = site(cluster, "shop.test").certificate
    assert (found.name if found else None) == expected


def test_a_secrets_certificate_changes_its_name_with_its_content() -> None:
    body = f"ingresses: [{{name: shop, tls: [{{secretName: shop}}], rules: [{SHOP}]}}]\n"
    found = [
        site(cluster_of(body + secret), "shop.test").certificate
        for secret in (SECRET, SECRET.replace("MIIB", "MIIC"))
    ]
    names = [item.name for item in found if item is not None and item.secret is not None]
    assert [name.rpartition(".")[0] for name in names] == ["secret.default.shop"] * 2
    assert len(set(names)) == 2


def test_a_key_is_not_shown() -> None:
    body = f"ingresses: [{{name: shop, tls: [{{secretName: shop}}], rules: [{SHOP}]}}]\n"
    cluster = cluster_of(body + SECRET)
    assert "PRIVATE KEY" in cluster.tls_secrets[0].key
    assert "PRIVATE KEY" not in repr(cluster)


def test_a_long_host_gets_a_short_file() -> None:
    host = ".".join(["a" * 60] * 4)
    rule = SHOP.replace("shop.test", host)
    cluster = cluster_of(f"ingresses: [{{name: shop, tls: [{{}}], rules: [{rule}]}}]")
    assert max(len(item.name) for item in certificates(cluster)) < 40


# -- backends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [80, "http"])
def test_backends_are_the_ready_endpoints(port: int | str) -> None:
    cluster = cluster_of("ingressController: {}")
    found = endpoints(cluster, "default", IngressBackend("web", port))
    assert found == ("10.244.0.2:8080", "10.244.1.2:8080")


@pytest.mark.parametrize(
    ("namespace", "service", "port"),
    [
        ("default", "web", 81),
        ("default", "web", "https"),
        ("default", "nobody", 80),
        ("other", "web", 80),
        ("default", "out", 80),
        ("default", "web", 0),
        ("default", "web", ""),
    ],
)
def test_what_leads_nowhere_has_no_endpoints(namespace: str, service: str, port: int | str) -> None:
    cluster = cluster_of("ingressController: {}")
    assert endpoints(cluster, namespace, IngressBackend(service, port)) == ()


def test_ipv6_endpoints_are_written_in_brackets() -> None:
    cluster = cluster_of("networking: {ipFamily: ipv6}\ningressController: {}")
    found = endpoints(cluster, "default", IngressBackend("web", 80))
    assert found[0] == "[fd00:10:244::2]:8080"


# -- hosts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("a.test", "a.test", True),
        ("a.test", "A.test", True),
        ("a.test", "b.a.test", False),
        ("*.test", "a.test", True),
        ("*.test", "a.b.test", False),
        ("*.test", "test", False),
        ("*.test", ".test", False),
    ],
)
def test_a_wildcard_is_one_label(pattern: str, host: str, expected: bool) -> None:  # noqa: FBT001
    assert host_matches(pattern, host) is expected


def test_hosts_that_are_served() -> None:
    cluster = cluster_of(f"ingresses: [{{name: shop, rules: [{SHOP}, {{host: '*.w.test'}}]}}]")
    asked = ("shop.test", "shop.test.", "a.w.test", "w.test", "x.test")
    assert [serves_host(cluster, host) for host in asked] == [True, True, True, False, False]
