"""A pod as Kubernetes prints it."""

from __future__ import annotations

from kns.kinds.common import Object, metadata
from kns.kinds.env import EnvVar
from kns.kinds.lifecycle import write_lifecycle, write_probe
from kns.kinds.marks import COMPONENT
from kns.kinds.pod import ALWAYS, GRACE_SECONDS, Container, Pod, RestartPolicy
from kns.labfile.reader import JSON


def write(pod: Pod) -> Object:
    """A v1 Pod without a status."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(
            pod.name, pod.namespace, pod.labels, annotations=written_annotations(pod)
        ),
        "spec": write_spec(pod),
    }


def written_annotations(pod: Pod) -> dict[str, str]:
    """Its annotations, with what kns alone knows of it."""
    component = next((item.component for item in pod.containers if item.component), "")
    return {**pod.annotations, **({COMPONENT: component} if component else {})}


def write_spec(pod: Pod) -> Object:
    """Its `spec`."""
    spec: Object = {
        **({"nodeName": pod.node} if pod.node else {}),
        "dnsPolicy": str(pod.dns_policy),
        "enableServiceLinks": pod.enable_service_links,
        "containers": [_container(item) for item in pod.containers if not item.is_sidecar],
    }
    sidecars: list[JSON] = [
        {**_container(item), "restartPolicy": ALWAYS} for item in pod.containers if item.is_sidecar
    ]
    if sidecars:
        spec["initContainers"] = sidecars
    if pod.host_aliases:
        spec["hostAliases"] = [
            {"ip": str(alias.ip), "hostnames": list(alias.hostnames)} for alias in pod.host_aliases
        ]
    if pod.host_network:
        spec["hostNetwork"] = True
    if pod.restart_policy is not RestartPolicy.ALWAYS:
        spec["restartPolicy"] = str(pod.restart_policy)
    if pod.termination_grace_period_seconds != GRACE_SECONDS:
        spec["terminationGracePeriodSeconds"] = pod.termination_grace_period_seconds
    if pod.readiness_gates:
        spec["readinessGates"] = [{"conditionType": gate} for gate in pod.readiness_gates]
    if pod.hostname:
        spec["hostname"] = pod.hostname
    if pod.subdomain:
        spec["subdomain"] = pod.subdomain
    return spec


def _container(container: Container) -> Object:
    ports: list[JSON] = []
    for port in container.ports:
        item: Object = {"containerPort": port.port, "protocol": str(port.protocol)}
        if port.host_port:
            item["hostPort"] = port.host_port
        if port.host_ip is not None:
            item["hostIP"] = str(port.host_ip)
        ports.append({"name": port.name, **item} if port.name else item)
    result: Object = {"name": container.name, "ports": ports}
    if container.command:
        result["command"] = list(container.command)
    if container.env:
        result["env"] = [_variable(item) for item in container.env]
    probes = {
        "readinessProbe": container.readiness_probe,
        "livenessProbe": container.liveness_probe,
        "startupProbe": container.startup_probe,
    }
    result |= {name: write_probe(probe) for name, probe in probes.items() if probe is not None}
    if hooks := write_lifecycle(container.lifecycle):
        result["lifecycle"] = hooks
    return result


def _variable(variable: EnvVar) -> JSON:
    if not variable.field_path:
        return {"name": variable.name, "value": variable.value}
    source: Object = {"fieldRef": {"apiVersion": "v1", "fieldPath": variable.field_path}}
    return {"name": variable.name, "valueFrom": source}
