"""What the API server writes into an object where its author says nothing.

Pure: `defaulted(obj)` is a new object, and the same again for one that is defaulted already. What
is allocated (cluster IPs, node ports) is not among it.

Source: the SetDefaults functions of k8s.io/kubernetes/pkg/apis (core, apps, networking, discovery).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kns.kinds.common import Object
from kns.kinds.objects import items, mapping, part, text
from kns.labfile.reader import JSON

_PROBE: Object = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}
#: added by the admission plugin DefaultTolerationSeconds: how long a pod stays on a lost node
_STAYING: tuple[Object, ...] = tuple(
    {
        "key": f"node.kubernetes.io/{state}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    for state in ("not-ready", "unreachable")
)


def defaulted(obj: Object) -> Object:
    """The object with its defaults; the given one stays as it is."""
    rule = _RULES.get(text(obj, "kind"))
    return obj if rule is None else rule(obj)


def _with(value: Object, **defaults: JSON) -> Object:
    """The mapping, with what it leaves out or leaves null."""
    missing = {key: item for key, item in defaults.items() if value.get(key) is None}
    return {**value, **missing} if missing else value


def _each(value: Object, name: str, change: Callable[[Object], Object]) -> Object:
    """The mapping with each mapping of a list in it changed."""
    listed = part(value, name)
    if not isinstance(listed, list):
        return value
    return {**value, name: [change(item) if isinstance(item, dict) else item for item in listed]}


def _at(value: Object, name: str, change: Callable[[Object], Object]) -> Object:
    """The mapping with the mapping `name` in it changed, if it is there."""
    there = value.get(name)
    return {**value, name: change(there)} if isinstance(there, dict) else value


# -- pods ------------------------------------------------------------------------------------------


def pod_spec(spec: Object) -> Object:
    """The `spec` of a pod or of its template."""
    spec = _each(_each(spec, "containers", _container), "initContainers", _container)
    if spec.get("hostNetwork") is True:
        spec = _each(_each(spec, "containers", _host_ports), "initContainers", _host_ports)
    spec = _each(spec, "volumes", _volume)
    return _with(
        spec,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )


def _container(container: Object) -> Object:
    container = _each(container, "ports", lambda port: _with(port, protocol="TCP"))
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        container = _at(container, probe, _probe)
    container = _at(container, "lifecycle", _lifecycle)
    image = text(container, "image")
    if image:
        tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
        latest = "@" not in image and tag in {"", "latest"}
        container = _with(container, imagePullPolicy="Always" if latest else "IfNotPresent")
    return _with(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )


def _probe(probe: Object) -> Object:
    return _at(_with(probe, **_PROBE), "httpGet", _http_get)


def _http_get(action: Object) -> Object:
    return _with(action, path="/", scheme="HTTP")


def _lifecycle(lifecycle: Object) -> Object:
    for hook in ("postStart", "preStop"):
        lifecycle = _at(lifecycle, hook, lambda action: _at(action, "httpGet", _http_get))
    return lifecycle


def _host_ports(container: Object) -> Object:
    return _each(
        container, "ports", lambda port: _with(port, hostPort=port.get("containerPort", 0))
    )


def _volume(volume: Object) -> Object:
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        volume = _at(volume, source, lambda found: _with(found, defaultMode=0o644))
    return volume if len(volume) > 1 else {**volume, "emptyDir": {}}


def _pod(obj: Object) -> Object:
    spec = pod_spec(mapping(obj, "spec"))
    account = text(spec, "serviceAccountName") or text(spec, "serviceAccount") or "default"
    spec = _with(
        {**spec, "serviceAccountName": account, "serviceAccount": account},
        enableServiceLinks=True,
        preemptionPolicy="PreemptLowerPriority",
        priority=0,
    )
    listed = items(spec, "tolerations")
    missing: list[JSON] = [item for item in _STAYING if not _tolerates(listed, item)]
    if missing:
        spec = {**spec, "tolerations": [*listed, *missing]}
    return {**obj, "spec": spec}


def _tolerates(listed: list[JSON], taint: Object) -> bool:
    """Whether one of the tolerations speaks of the taint."""
    return any(
        part(item, "key") in {taint["key"], None, ""}
        and part(item, "effect") in {"NoExecute", None, ""}
        for item in listed
    )


# -- workloads -------------------------------------------------------------------------------------


def _workload(**defaults: JSON) -> Callable[[Object], Object]:
    def rule(obj: Object) -> Object:
        spec = _at(mapping(obj, "spec"), "template", _template)
        return {**obj, "spec": _with(spec, **defaults)}

    return rule


def _template(template: Object) -> Object:
    return _at(template, "spec", pod_spec)


def _deployment(obj: Object) -> Object:
    made = _workload(replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)(obj)
    strategy = _with(mapping(made, "spec", "strategy"), type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _with(mapping(strategy, "rollingUpdate"), maxSurge="25%", maxUnavailable="25%")
        strategy = {**strategy, "rollingUpdate": rolling}
    return {**made, "spec": {**mapping(made, "spec"), "strategy": strategy}}


def _update_strategy(obj: Object, made: Object, **rolling: JSON) -> Object:
    strategy = _with(mapping(obj, "spec", "updateStrategy"), type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy = {
            **strategy,
            "rollingUpdate": _with(mapping(strategy, "rollingUpdate"), **rolling),
        }
    return {**made, "spec": {**mapping(made, "spec"), "updateStrategy": strategy}}


def _stateful_set(obj: Object) -> Object:
    made = _workload(
        replicas=1,
        revisionHistoryLimit=10,
        podManagementPolicy="OrderedReady",
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )(obj)
    return _update_strategy(obj, made, partition=0)


def _daemon_set(obj: Object) -> Object:
    made = _workload(revisionHistoryLimit=10)(obj)
    return _update_strategy(obj, made, maxSurge=0, maxUnavailable=1)


def _replication_controller(obj: Object) -> Object:
    made = _workload(replicas=1)(obj)
    labels = mapping(made, "spec", "template", "metadata", "labels")
    return {**made, "spec": _with(mapping(made, "spec"), selector=labels)}


# -- the network -----------------------------------------------------------------------------------


def _service(obj: Object) -> Object:
    spec = _with(mapping(obj, "spec"), type="ClusterIP", sessionAffinity="None")
    kind = spec["type"]
    if kind == "ExternalName":
        return {**obj, "spec": _each(spec, "ports", _service_port)}
    spec = _with(spec, internalTrafficPolicy="Cluster")
    if kind in {"NodePort", "LoadBalancer"} or items(spec, "externalIPs"):
        spec = _with(spec, externalTrafficPolicy="Cluster")
    if kind == "LoadBalancer":
        spec = _with(spec, allocateLoadBalancerNodePorts=True)
    if spec["sessionAffinity"] == "ClientIP":
        timeout = _with(mapping(spec, "sessionAffinityConfig", "clientIP"), timeoutSeconds=10800)
        spec = {**spec, "sessionAffinityConfig": {"clientIP": timeout}}
    return {**obj, "spec": _each(spec, "ports", _service_port)}


def _service_port(port: Object) -> Object:
    port = _with(port, protocol="TCP")
    target = port.get("targetPort")
    return (
        {**port, "targetPort": port["port"]} if target in {None, "", 0} and "port" in port else port
    )


def _endpoints(obj: Object) -> Object:
    def subset(value: Object) -> Object:
        return _each(value, "ports", lambda port: _with(port, protocol="TCP"))

    return _each(obj, "subsets", subset)


def _endpoint_slice(obj: Object) -> Object:
    return _each(obj, "ports", lambda port: _with(port, name="", protocol="TCP"))


def _network_policy(obj: Object) -> Object:
    def rule(value: Object) -> Object:
        return _each(value, "ports", lambda port: _with(port, protocol="TCP"))

    spec = _each(_each(mapping(obj, "spec"), "ingress", rule), "egress", rule)
    types: list[JSON] = ["Ingress", "Egress"] if items(spec, "egress") else ["Ingress"]
    return {**obj, "spec": _with(spec, podSelector={}, policyTypes=types)}


def _secret(obj: Object) -> Object:
    return _with(obj, type="Opaque")


def _node(obj: Object) -> Object:
    return _with(obj, spec={})


_RULES: Mapping[str, Callable[[Object], Object]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _workload(replicas=1),
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "ReplicationController": _replication_controller,
    "Service": _service,
    "Endpoints": _endpoints,
    "EndpointSlice": _endpoint_slice,
    "NetworkPolicy": _network_policy,
    "Secret": _secret,
    "Node": _node,
}
