"""What a Service keeps and loses when its type changes."""

from __future__ import annotations

import pytest

from kns.agent.api.services import with_allocated
from kns.kinds.common import Object
from kns.labfile.reader import JSON

ADDRESS: Object = {
    "clusterIP": "10.96.0.1",
    "clusterIPs": ["10.96.0.1"],
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
}
NODE_PORT: Object = {
    "type": "NodePort",
    "externalTrafficPolicy": "Cluster",
    "ports": [{"port": 80, "nodePort": 30080}],
    **ADDRESS,
}
LOCAL: Object = {
    **NODE_PORT,
    "type": "LoadBalancer",
    "externalTrafficPolicy": "Local",
    "healthCheckNodePort": 30900,
    "allocateLoadBalancerNodePorts": True,
    "loadBalancerClass": "a.b/c",
}
BARE: Object = {"type": "ClusterIP", "ports": [{"port": 80}], **ADDRESS}


@pytest.mark.parametrize(
    ("old", "changed", "expected"),
    [
        (NODE_PORT, {"type": "ClusterIP"}, BARE),
        (LOCAL, {"type": "ClusterIP"}, BARE),
        (LOCAL, {"type": "NodePort"}, {**NODE_PORT, "externalTrafficPolicy": "Local"}),
        (LOCAL, {"externalTrafficPolicy": "Cluster"}, None),
        (BARE, {"type": "ExternalName"}, {"type": "ExternalName", "ports": [{"port": 80}]}),
        (
            NODE_PORT,
            {"type": "ClusterIP", "externalIPs": ["1.2.3.4"]},
            {**BARE, "externalTrafficPolicy": "Cluster", "externalIPs": ["1.2.3.4"]},
        ),
        # what the author changes himself stays, and is refused
        (
            NODE_PORT,
            {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30081}]},
            {**BARE, "ports": [{"port": 80, "nodePort": 30081}]},
        ),
    ],
)
def test_a_patch_of_the_type_alone_drops_what_the_new_type_lacks(
    old: Object, changed: Object, expected: Object | None
) -> None:
    if expected is None:
        expected = {**old, **changed}
        del expected["healthCheckNodePort"]
    patched: JSON = {**old, **changed}
    assert with_allocated({"spec": old}, {"spec": patched})["spec"] == expected


def test_what_the_author_leaves_out_stays() -> None:
    left: Object = {"type": "NodePort", "ports": [{"port": 80}]}
    kept = with_allocated({"spec": NODE_PORT}, {"spec": left})["spec"]
    assert kept == {k: v for k, v in NODE_PORT.items() if k != "externalTrafficPolicy"}
