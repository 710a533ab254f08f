"""What the API server takes of a Service, and what then has no effect.

Source of half of it: pkg/api/service/warnings.go (GetWarningsForService).
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import is_address
from kns.errors import Problem
from kns.kinds.checks.services import SOURCE_RANGES_ANNOTATION
from kns.kinds.nft_refusals import interface_refusal, is_refused, port_comment, refusal
from kns.kinds.service import Service, ServiceType, SessionAffinity
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.place import Place
from kns.labfile.wording import shown


def warn_service_fields(sources: Sources) -> Iterator[Problem]:
    """Each field of a Service that its other fields leave without effect; what nft refuses."""
    yield from _refused_rules(sources)
    for part in sources.services:
        for path, message, hint in _ignored(part.value, part.place):
            yield part.place.problem(path, message, hint, warning=True)


def _refused_rules(sources: Sources) -> Iterator[Problem]:
    options = sources.lab.networking.kube_proxy
    if options.interface_refused:
        path: Path = ("networking", "kubeProxy", "podInterfaceNamePrefix")
        yield sources.place.problem(path, *interface_refusal(options), warning=True)
    for part in sources.services:
        for index, port in enumerate(part.value.ports):
            comment = port_comment(part.value, port)
            if is_refused(comment, options):
                path = ("ports", index, "name")
                yield part.place.problem(path, *refusal(comment, options), warning=True)


_Ignored = Iterator[tuple[Path, str, str]]


def _ignored(spec: Service, place: Place) -> _Ignored:
    if spec.type is ServiceType.EXTERNAL_NAME:
        yield from _of_external_name(spec, place)
    elif place.get("externalName"):
        yield ("externalName",), 'is ignored when spec.type is not "ExternalName"', ""
    if spec.without_cluster_ip:
        for field, written in (
            ("externalIPs", spec.external_ips),
            ("sessionAffinity", spec.session_affinity is not SessionAffinity.NONE),
        ):
            if written:
                yield (field,), "is ignored for headless services", ""
    yield from _load_balancer_ip(spec, place)
    if place.has("sessionAffinityConfig") and spec.session_affinity is SessionAffinity.NONE:
        hint = "set `sessionAffinity: ClientIP`"
        yield ("sessionAffinityConfig",), "is dropped: sessionAffinity is None", hint
    if SOURCE_RANGES_ANNOTATION in spec.annotations:
        hint = "kube-proxy looks at spec.loadBalancerSourceRanges alone"
        yield ("annotations", SOURCE_RANGES_ANNOTATION), "this annotation has no effect here", hint


def _of_external_name(spec: Service, place: Place) -> _Ignored:
    if is_address(spec.external_name):
        hint = "a Service without selector and an EndpointSlice lead to an address"
        yield ("externalName",), "is taken for a DNS name, not for an address", hint
    ignored = 'is ignored when spec.type is "ExternalName"'
    for field, written in (
        ("externalIPs", spec.external_ips),
        ("selector", spec.selector),
        ("sessionAffinity", spec.session_affinity is not SessionAffinity.NONE),
    ):
        if written:
            yield (field,), ignored, "the name is a CNAME, and nothing else"
    for index, port in enumerate(spec.ports):
        if port.node_port and place.paths:
            yield ("ports", index, "nodePort"), ignored, ""


def _load_balancer_ip(spec: Service, place: Place) -> _Ignored:
    written = place.get("loadBalancerIP")
    if not written:
        return
    if spec.type is not ServiceType.LOAD_BALANCER:
        message = f"has no effect: the Service is of type {spec.type}"
        yield ("loadBalancerIP",), message, "set `type: LoadBalancer`, or leave it out"
    elif spec.load_balancer_ip is None:
        message = f"{shown(written)} is no IP address: no load balancer can give it"
        yield ("loadBalancerIP",), message, ""
