"""What pods say that matters to a network and has no effect here: one table, one warning each.

What matters to no packet (volumes, resources …) is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kns.errors import Problem
from kns.kinds.workload import Workload
from kns.labfile.document import Path
from kns.labfile.place import Located

_SPREAD = "pods go to the nodes that will do in turn"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
#: fields of a pod's spec
SPEC: Mapping[Path, str] = {
    ("securityContext", "sysctls"): "kns sets no sysctls in pods",
    ("setHostnameAsFQDN",): "the hostname is the pod's short one",
    ("hostnameOverride",): "the hostname is the pod's own",
    ("schedulingGates",): "a pod is scheduled at once",
    ("topologySpreadConstraints",): _SPREAD,
    ("affinity", "podAffinity"): _SPREAD,
    ("affinity", "podAntiAffinity"): _SPREAD,
    ("affinity", "nodeAffinity", _PREFERRED): _SPREAD,
    ("runtimeClassName",): "kns has one runtime, the kernel",
}
#: annotations of a pod by the beginning of their name, to which plugins and meshes listen
ANNOTATIONS: Mapping[str, str] = {
    "k8s.v1.cni.cncf.io/": "a pod has one network, and no other interface than eth0",
    "v1.multus-cni.io/": "a pod has one network, and no other interface than eth0",
    "kubernetes.io/ingress-bandwidth": "kns limits no bandwidth",
    "kubernetes.io/egress-bandwidth": "kns limits no bandwidth",
    "cni.projectcalico.org/": "kns is no Calico",
    "ovn.kubernetes.io/": "kns is no Kube-OVN",
    "k8s.ovn.org/": "kns is no OVN-Kubernetes",
    "sidecar.istio.io/": "kns injects no sidecars",
    "linkerd.io/inject": "kns injects no sidecars",
    "config.linkerd.io/": "kns injects no sidecars",
}
#: what an API server prints of its own accord, and of which nothing comes
_NOTHING: tuple[object, ...] = (None, False, "", [], {})


def warn_ignored(part: Located[Workload]) -> Iterator[Problem]:
    """A warning for each of these that is written."""
    place = part.place
    # these fields stand beside the containers, at paths that no form tells of
    whole = replace(place, paths={})
    spec = place.paths.get("containers", ("containers",))[:-1]
    for path, why in SPEC.items():
        if whole.get(*spec, *path) not in _NOTHING:
            yield whole.problem((*spec, *path), f"no effect here: {why}", warning=True)
    metadata = place.paths.get("annotations", ("annotations",))
    written = whole.get(*metadata)
    for name in written if isinstance(written, dict) else ():
        why = next((why for start, why in ANNOTATIONS.items() if str(name).startswith(start)), "")
        if why:
            yield whole.problem((*metadata, name), f"no effect here: {why}", warning=True)
