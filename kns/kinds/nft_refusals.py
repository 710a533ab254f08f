"""What kube-proxy writes and nft refuses: comments too long, prefixes of interfaces' names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kns.errors import Problem, Severity
from kns.kinds.networking import INTERFACES_BY_NAME_SINCE, KubeProxyOptions, ProxyMode
from kns.kinds.release import Release
from kns.kinds.service import Service, ServicePort

#: what nft takes of a comment, in bytes (NFTNL_UDATA_COMMENT_MAXLEN of libnftnl)
COMMENT_BYTES: Final = 128
#: the first release that cuts comments; before, nft refuses the whole table (kubernetes issue
#: 139515)
COMMENTS_CUT_SINCE: Final = Release.V1_37


def port_comment(service: Service, port: ServicePort) -> str:
    """`namespace/name:port`, as kube-proxy names a port of a Service."""
    return f"{service.full_name}:{port.name}" if port.name else service.full_name


def is_refused(comment: str, options: KubeProxyOptions) -> bool:
    """True if nft takes none of kube-proxy's rules, once this comment is among them."""
    cuts = options.version >= COMMENTS_CUT_SINCE
    return options.mode is ProxyMode.NFTABLES and not cuts and len(comment.encode()) > COMMENT_BYTES


def refusal(comment: str, options: KubeProxyOptions) -> tuple[str, str]:
    """What becomes of the rules when the Service has no endpoints, and what to do about it."""
    message = (
        f"{comment} has {len(comment.encode())} bytes, and nft takes {COMMENT_BYTES} for a comment:"
        f" while the Service has no endpoints, kube-proxy {options.version} in nftables mode loads"
        " no rule of any Service"
    )
    return message, f"shorten a name, or choose a release that cuts comments ({COMMENTS_CUT_SINCE})"


def interface_refusal(options: KubeProxyOptions) -> tuple[str, str]:
    """What becomes of the rules where `interface_refused` is true, and what to do about it."""
    prefix = options.pod_interface_name_prefix
    message = (
        f"kube-proxy {options.version} in nftables mode looks for {prefix}*"
        " by iif, which takes no prefix: nft refuses every rule of every Service"
    )
    return message, f"choose {INTERFACES_BY_NAME_SINCE} or newer, or another mode of detection"


def refused_rules(
    file: str, services: Iterable[Service], options: KubeProxyOptions
) -> Iterator[Problem]:
    """A warning for each port whose name nft refuses under these options, and for an interface."""
    if options.interface_refused:
        message, hint = interface_refusal(options)
        yield Problem(file, 0, 0, "", message, hint, severity=Severity.WARNING)
    for service in services:
        for index, port in enumerate(service.ports):
            comment = port_comment(service, port)
            if is_refused(comment, options):
                place = f"Service {service.full_name}: spec.ports[{index}].name"
                message, hint = refusal(comment, options)
                yield Problem(file, 0, 0, place, message, hint, severity=Severity.WARNING)
