"""A probe of a host that an Ingress names: by the controller's door, whatever DNS says. Pure.

    kns probe internet http://shop.example.com/cart
    kns probe internet shop.example.com

The client connects to the load balancer's address or a node port, and asks for the host, as a
browser does once DNS has told it where the host is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from kns.addresses import IPAddress, IPFamily, is_address
from kns.cluster.ingress import entrance, serves_host
from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.kinds.common import Protocol
from kns.probe.addresses import owners
from kns.probe.identify import request_headers
from kns.probe.model import Attempt
from kns.probe.names import search
from kns.probe.target import DEFAULT_PATH, TARGETS, Target, TargetOptions
from kns.promise.flow import Flow, Outcome
from kns.promise.ingress_rules import Decision, backends_of, decide, redirects
from kns.promise.location import Location, LocationKind
from kns.promise.lookup import Lookup

#: who answers where no backend was asked
SERVER = "nginx, the Ingress controller,"
_PORTS = {"http": 80, "https": 443}
#: what the controller says without asking a backend, and why
_OWN_ANSWERS = {
    403: "an allow or deny list of the Ingress keeps the client out",
    404: "no path of the host matches",
    502: "no endpoint took the connection",
    503: "the service has no ready endpoint, or not that port",
    504: "the endpoint did not answer in time",
}


def ingress_target(cluster: Cluster, text: str, options: TargetOptions) -> Target | None:
    """The target if `text` is a host of an Ingress, or a URL of one; None: it is something else."""
    if cluster.ingress_controller is None or options.protocol is not Protocol.TCP:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}{DEFAULT_PATH}")
        host, written = parts.hostname or "", parts.port
    except ValueError:
        return None
    port = written or (int(options.port) if options.port.isdigit() else _PORTS.get(parts.scheme))
    scheme = parts.scheme if "://" in text else {443: "https"}.get(port or 0, "http")
    is_door = port is not None and _PORTS.get(scheme) == port
    if not is_door or search(cluster, host, TARGETS) or not serves_host(cluster, host):
        return None
    url = text if "://" in text else f"{scheme}://{host}{DEFAULT_PATH}"
    return _by_door(cluster, text, url, options.family)


def _by_door(cluster: Cluster, text: str, url: str, family: IPFamily | None) -> Target:
    door = entrance(cluster, family)
    if door is None:
        raise UsageError(
            f"{text!r}: the Ingress controller has no address and no node port",
            hint="kns get services -A; ingressController.service says of which type it is",
        )
    return Target(
        text=text,
        kind=LocationKind.NODE if door.node is not None else LocationKind.SERVICE,
        label=text,
        address=door.address,
        port=door.https if url.startswith("https") else door.http,
        url=url,
        item=door.node or door.service,
        service=door.service,
        by_ingress=True,
    )


def _decision(cluster: Cluster, target: Target) -> tuple[Decision, str]:
    parts = urlsplit(target.url)
    host = (parts.hostname or "").removesuffix(".")
    return decide(cluster, host, unquote(parts.path) or "/"), host


def candidates(lookup: Lookup, target: Target) -> tuple[str, ...]:
    """The backends that may answer."""
    decision, host = _decision(lookup.cluster, target)
    if target.url.startswith("http:") and redirects(lookup.cluster, host, decision):
        return ()
    return tuple(dict.fromkeys(item.name for item in backends_of(lookup, decision)))


def notes(cluster: Cluster, target: Target, attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Which rule it was, and what the backend knows of the client."""
    if not any(attempt.outcome is Outcome.CONNECTED for attempt in attempts):
        return ()
    decision, _ = _decision(cluster, target)
    found = [decision.words]
    known = owners(cluster)
    headers = next((h for a in attempts if (h := request_headers(a.body))), {})
    seen = next((a.client_address_seen for a in attempts if a.client_address_seen), None)
    client = headers.get("x-forwarded-for")
    if client is not None and seen:
        found.append(
            f"the server saw {seen} ({known.get(seen, 'nginx')}), which connects by itself;"
            f" X-Forwarded-For: {client} ({_owner(known, client)})"
        )
    if not headers:
        statuses = sorted({attempt.status or 0 for attempt in attempts} & _OWN_ANSWERS.keys())
        found += [f"nginx itself answered {status}: {_OWN_ANSWERS[status]}" for status in statuses]
        found += filter(None, [_why_silent(cluster, decision) if 504 in statuses else ""])
    locations = sorted({attempt.location for attempt in attempts if attempt.location})
    found += [f"redirected to {location}" for location in locations[:1]]
    return tuple(found)


def _why_silent(cluster: Cluster, decision: Decision) -> str:
    """The network policy that keeps nginx from an endpoint, and the kernel's rule; else nothing."""
    lookup, controller = Lookup(cluster), cluster.ingress_controller
    if controller is None or not cluster.network_policies:
        return ""
    flows = (
        Flow(Location(pod), backend.address, backend.port)
        for pod in cluster.pods
        if pod.full_name in controller.pods
        for backend in backends_of(lookup, decision)
    )
    # walks through compiled rules, which nobody else here needs
    from kns.probe.policy import why_denied  # noqa: PLC0415

    return next(filter(None, (why_denied(lookup, flow) for flow in flows)), "")


def _owner(known: Mapping[IPAddress, str], text: str) -> str:
    """Whose address the text is; it comes from a server."""
    return known.get(ip_address(text), "somebody") if is_address(text) else "somebody"
