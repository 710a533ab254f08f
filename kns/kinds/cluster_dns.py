"""Cluster DNS among a file's manifests, as a dump of all namespaces has it: kns makes its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kns.kinds.common import Labels
from kns.kinds.networking import DNS_LABEL, DNS_NAMESPACE, DNS_SERVICE, DNSOptions
from kns.kinds.sources import Manifests
from kns.labfile.place import Located

T = TypeVar("T")

_SERVICE = (DNS_NAMESPACE, DNS_SERVICE)


def pass_over_dns(found: Manifests, dns: DNSOptions) -> None:
    """Leave out the manifests of cluster DNS, and say so of each; none where the lab has no DNS."""
    if not dns.enabled:
        return
    found.services = _others(
        found,
        found.services,
        lambda item: (item.namespace, item.name) == _SERVICE and _is_dns(item.selector or {}),
    )
    found.workloads = _others(
        found,
        found.workloads,
        lambda item: item.template.namespace == DNS_NAMESPACE and _is_dns(item.template.labels),
    )
    found.slices = _others(
        found, found.slices, lambda item: (item.namespace, item.service) == _SERVICE
    )
    found.endpoints = _others(
        found, found.endpoints, lambda item: (item.namespace, item.name) == _SERVICE
    )


def _is_dns(labels: Labels) -> bool:
    key, value = DNS_LABEL
    return labels.get(key) == value


def _others(
    found: Manifests, parts: list[Located[T]], is_dns: Callable[[T], bool]
) -> list[Located[T]]:
    kept = []
    for part in parts:
        if is_dns(part.value):
            message = "passed over: kns makes cluster DNS itself"
            hint = "networking.dns.enabled: false in the Lab document has this one instead"
            found.warnings.append(part.place.problem(("name",), message, hint, warning=True))
        else:
            kept.append(part)
    return kept
