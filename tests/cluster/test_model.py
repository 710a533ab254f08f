"""What a cluster answers."""

from __future__ import annotations

import pickle

from kns.addresses import IPFamily
from kns.cluster.resolve import resolve
from tests.kinds.labs import lab

BODY = """
networking: {dns: {enabled: false}}
pods:
- {name: web, node: node1, labels: {app: web}, containers: [{port: 80}]}
- {name: db, namespace: shop, node: node2}
services: [{name: web, selector: {app: web}, ports: [{name: http, port: 8080, targetPort: 80}]}]
"""


def test_a_cluster_answers_look_ups() -> None:
    cluster = resolve(lab(BODY).spec).cluster
    web, db = cluster.pods
    (service,) = cluster.services
    assert cluster.node("node2") is cluster.nodes[1]
    assert cluster.node("node3") is None
    assert cluster.pod("shop", "db") is db
    assert cluster.pods_on("node1") == (web,)
    assert cluster.pods_on("node3") == ()
    assert cluster.service("default", "web") is service
    assert cluster.service("shop", "web") is None
    assert cluster.owner(db.addresses[0]) is db
    assert cluster.owner(cluster.nodes[0].addresses[0]) is cluster.nodes[0]
    assert cluster.owner(service.cluster_ips[0]) is None
    ((endpoint, port),) = cluster.endpoints(service, service.ports[0], IPFamily.IPV4)
    assert (endpoint.pod, port.port) == ("default/web", 80)
    assert list(cluster.endpoints(service, service.ports[0], IPFamily.IPV6)) == []


def test_a_cluster_is_kept_without_its_indexes() -> None:
    cluster = resolve(lab(BODY).spec).cluster
    before = len(pickle.dumps(cluster))
    assert cluster.node("node1") is not None
    assert len(pickle.dumps(cluster)) == before
    assert pickle.loads(pickle.dumps(cluster)) == cluster
