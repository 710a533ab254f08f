"""HAProxy's configuration: a cloud's load balancer, outside the cluster, at layer 4.

A frontend per address and port; its servers are the nodes' node ports. Modelled on
cloud-provider-kind: a health check every 2 s, down after two failures, up after one success, on
healthCheckNodePort (externalTrafficPolicy Local) or kube-proxy's own 10256. The proxy is the
client that pods see, in either policy. HAProxy does not forward UDP.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from kns.addresses import IPAddress, IPFamily
from kns.cluster.load_balancer import proxied, proxied_ports
from kns.cluster.model import Cluster
from kns.cluster.words import word
from kns.compile.paths import LabPaths
from kns.kinds.service import Service, ServicePort, SessionAffinity, TrafficPolicy

#: kube-proxy's --healthz-bind-address
PROXY_HEALTH_PORT = 10256

_HEAD = """\
global
  log stderr format raw local0 notice
  stats socket {socket} mode 600 level user
  maxconn 4000
defaults
  mode tcp
  timeout connect 2s
  timeout client 1m
  timeout server 1m
  retries 2
  option redispatch 1
  option log-health-checks
"""


def socket_path(paths: LabPaths) -> Path:
    """HAProxy's own socket, which tells the state of its servers."""
    return paths.component("haproxy") / "haproxy.sock"


def config(cluster: Cluster) -> str:
    """What the HAProxy of cloud-lb reads."""
    parts = [_HEAD.format(socket=socket_path(LabPaths(cluster.name)))]
    for address, service in proxied(cluster):
        for port in proxied_ports(service):
            parts.append("\n".join(_listener(cluster, service, port, address)) + "\n")
    return "".join(parts)


def _listener(
    cluster: Cluster, service: Service, port: ServicePort, address: IPAddress
) -> Iterator[str]:
    local = service.external_traffic_policy is TrafficPolicy.LOCAL
    check = service.health_check_node_port if local else PROXY_HEALTH_PORT
    path = "/" if local else "/healthz"
    name = f"{word(service.namespace)}_{word(service.name)}"
    yield f"listen {name}_{port.port}_{address}"
    yield f"  bind {_host(address)}:{port.port}"
    # as kube-proxy: those of the other family count for nothing
    networks = (
        ip_network(text.strip(), strict=False) for text in service.load_balancer_source_ranges
    )
    ranges = [str(network) for network in networks if network.version == address.version]
    if ranges:
        yield f"  acl allowed src {' '.join(ranges)}"
        yield "  tcp-request connection reject if !allowed"
    affinity = service.session_affinity is SessionAffinity.CLIENT_IP
    yield f"  balance {'source' if affinity else 'random'}"
    yield f"  option httpchk GET {path}"
    yield "  http-check expect status 200"
    family = IPFamily.of(address)
    for node in cluster.nodes:
        backend = node.address(family)
        if backend is not None:
            yield (
                f"  server {word(node.name)} {_host(backend)}:{port.node_port} check port {check}"
                " inter 2s fastinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions"
            )


def _host(address: IPAddress) -> str:
    return f"[{address}]" if address.version == 6 else str(address)
