"""The environment of a container: kubelet's service variables, and the container's own.

    services that exist when the pod starts ──service_environment()──▶ FOO_SERVICE_HOST=…, …
    container.env, with $(VAR) references ──container_environment()──▶ what the process gets

Source: pkg/kubelet/envvars/envvars.go, getServiceEnvVarMap and makeEnvironmentVariables of
pkg/kubelet/kubelet_pods.go, third_party/forked/golang/expansion of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.kinds.pod import Pod
from kns.kinds.service import Service

Variables = tuple[tuple[str, str], ...]

#: kubelet's --master-service-namespace: its service `kubernetes` is visible in every pod
MASTER_NAMESPACE = "default"
MASTER_SERVICE = "kubernetes"

#: `$$` is a dollar sign, `$(NAME)` a reference; a `$` in front of anything else is itself
_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")


def service_environment(
    cluster: Cluster, pod: Pod, *, services: Iterable[Service] | None = None
) -> Variables:
    """The variables that kubelet makes of services for a pod that starts now.

    `services` are the ones that exist at that moment (default: the cluster's). kubelet walks a map
    in random order; here services come in the order of their names, and where two of them make
    the same variable (`foo` and `foo-service`), the later one wins, as in kubelet's own map.
    """
    existing = cluster.services if services is None else services
    return _unique(_variables(visible_services(pod, existing)))


def container_environment(own: Iterable[tuple[str, str]], services: Variables) -> Variables:
    """All variables of a container: its own in written order, then the services'.

    A variable of its own may refer to earlier ones of its own and to the services', and replaces
    a service variable of its name. `services` are those that were there when the pod started.
    """
    inherited = dict(services)
    composed: dict[str, str] = {}
    for name, value in own:
        composed[name] = expand(value, {**inherited, **composed})
    return tuple({**composed, **{k: v for k, v in inherited.items() if k not in composed}}.items())


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value and `$$` by `$`; unknown names stay as written."""

    def replacement(match: re.Match[str]) -> str:
        if match.group(1):
            return "$"
        return variables.get(match.group(2), match.group(0))

    return _REFERENCE.sub(replacement, text)


def visible_services(pod: Pod, services: Iterable[Service]) -> tuple[Service, ...]:
    """The services that a pod learns of by its environment, sorted by name.

    Always default/kubernetes, and with enableServiceLinks those of the pod's own namespace, of
    which one named `kubernetes` takes the place of the other. Only services with a cluster IP.
    """
    named: dict[str, Service] = {}
    for service in services:
        if not service.cluster_ips:
            continue
        if pod.enable_service_links and service.namespace == pod.namespace:
            named[service.name] = service
        elif (service.namespace, service.name) == (MASTER_NAMESPACE, MASTER_SERVICE):
            named.setdefault(service.name, service)
    return tuple(named[name] for name in sorted(named))


def _unique(variables: Iterable[tuple[str, str]]) -> Variables:
    return tuple(dict(variables).items())


def _variables(services: Iterable[Service]) -> Iterator[tuple[str, str]]:
    for service in services:
        address = service.cluster_ips[0]
        prefix = variable_name(service.name)
        yield f"{prefix}_SERVICE_HOST", str(address)
        yield f"{prefix}_SERVICE_PORT", str(service.ports[0].port)
        for port in service.ports:
            if port.name:
                yield f"{prefix}_SERVICE_PORT_{variable_name(port.name)}", str(port.port)
        yield from _link_variables(prefix, service, address)


def _link_variables(prefix: str, service: Service, address: IPAddress) -> Iterator[tuple[str, str]]:
    """The variables that `docker run --link` made, which programs of that time still read."""
    host = f"[{address}]" if address.version == 6 else str(address)
    for index, port in enumerate(service.ports):
        protocol = port.protocol.lower()
        url = f"{protocol}://{host}:{port.port}"
        if index == 0:
            yield f"{prefix}_PORT", url
        name = f"{prefix}_PORT_{port.port}_{port.protocol.upper()}"
        yield name, url
        yield f"{name}_PROTO", protocol
        yield f"{name}_PORT", str(port.port)
        yield f"{name}_ADDR", str(address)


def variable_name(name: str) -> str:
    """`makeEnvVariableName`: upper case, with `_` for `-`."""
    return name.upper().replace("-", "_")
