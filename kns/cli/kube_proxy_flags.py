"""kube-proxy's own options, under its names and with its defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from kns.addresses import IPAddress, IPNetwork
from kns.compile.proxy.release import ReleaseChange, has
from kns.errors import UsageError
from kns.kinds.networking import (
    EXTERNAL_IPS_GATE_SINCE,
    DetectLocalMode,
    FeatureGates,
    IPVSOptions,
    KubeProxyOptions,
    NfacctUse,
    NFTablesOptions,
    ProxyMode,
)
from kns.kinds.release import Release

Function = TypeVar("Function", bound=Callable[..., object])

PRIMARY = "primary"
EXTERNAL_IPS_GATE = "AllowServiceExternalIPs"
_TRUTH = {"true": True, "false": False}


def addresses(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[IPAddress, ...]:
    """IP addresses, separated by commas or in several options."""
    try:
        return tuple(ip_address(item) for item in _items(values))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _cidrs(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[IPNetwork, ...]:
    """Networks, separated by commas or in several options; host bits are masked, as Go does it."""
    items = _items(values)
    for item in items:
        if "/" not in item:
            raise click.BadParameter(f"{item!r} is no CIDR: it lacks a prefix length")
    try:
        return tuple(ip_network(item, strict=False) for item in items)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _cidr_pair(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[IPNetwork, ...] | None:
    """Networks, separated by commas; None without the option."""
    return None if value is None else _cidrs(ctx, param, (value,))


def _node_port_addresses(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[IPNetwork, ...] | str:
    """Networks, or the word `primary` alone."""
    items = _items(values)
    if PRIMARY not in items:
        return _cidrs(ctx, param, values)
    if len(items) > 1:
        raise click.BadParameter(f"{PRIMARY} stands alone")
    return PRIMARY


def _items(values: tuple[str, ...]) -> list[str]:
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def _duration(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """A duration as Go writes it (`15m`, `1h30m`, `90s`), in whole seconds."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?|0", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no duration such as 15m or 90s")
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _feature_gates(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> FeatureGates:
    """`NAME=true|false`, separated by commas or in several options; the last one counts."""
    gates = FeatureGates()
    for item in _items(values):
        name, _, value = item.partition("=")
        if name != EXTERNAL_IPS_GATE:
            raise click.BadParameter(f"{name} changes no rules: {EXTERNAL_IPS_GATE} does")
        if value not in _TRUTH:
            raise click.BadParameter(f"{item!r} is neither {name}=true nor {name}=false")
        gates = FeatureGates(allow_service_external_ips=_TRUTH[value])
    return gates


class KubeProxyCommand(click.Command):
    """A command whose boolean options are written as kube-proxy's: `--flag` or `--flag=false`.

    Such an option never takes the next word as its value, as pflag's don't.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Spell a bare boolean option out before click reads it."""
        flags = {
            name
            for p in self.params
            if isinstance(p.type, click.types.BoolParamType)
            if isinstance(p, click.Option) and not p.is_flag
            for name in p.opts
        }
        end = args.index("--") if "--" in args else len(args)
        spelled = [f"{arg}=true" if arg in flags else arg for arg in args[:end]]
        return super().parse_args(ctx, spelled + args[end:])


#: a string to kube-proxy, of which the last one counts; the others are lists that add up
_CIDR_PAIR: Final = {"callback": _cidr_pair, "default": None, "metavar": "CIDR[,CIDR]"}
_CIDRS: Final = {"callback": _cidrs, "multiple": True, "metavar": "CIDR,..."}
_BOOL: Final = {"type": bool, "metavar": "[=true|false]"}
_DURATION: Final = {"callback": _duration, "default": "0", "metavar": "DURATION"}
_MODE: Final = {
    "type": click.Choice([str(mode) for mode in DetectLocalMode]),
    "default": str(DetectLocalMode.CLUSTER_CIDR),
}
_BIT: Final = {"type": click.IntRange(0, 31), "default": 14}

#: name, settings, help
_FLAGS: Final[tuple[tuple[str, Mapping[str, Any], str], ...]] = (
    (
        "--feature-gates",
        {"callback": _feature_gates, "multiple": True, "metavar": "NAME=BOOL,..."},
        "AllowServiceExternalIPs=false: addresses in externalIPs are left alone.",
    ),
    ("--cluster-cidr", _CIDR_PAIR, "The pods' CIDRs, one a family."),
    ("--masquerade-all", {**_BOOL, "default": False}, "Masquerade every client."),
    ("--detect-local-mode", _MODE, "How traffic of this node's pods is told."),
    ("--pod-bridge-interface", {"default": "", "metavar": "NAME"}, "The pods' bridge."),
    ("--pod-interface-name-prefix", {"default": "", "metavar": "PREFIX"}, "Of the pods' links."),
    (
        "--nodeport-addresses",
        {**_CIDRS, "callback": _node_port_addresses},
        "The node's addresses that answer on node ports, or the word primary.",
    ),
    ("--iptables-localhost-nodeports", {**_BOOL, "default": True}, "Node ports on 127.0.0.1."),
    ("--iptables-masquerade-bit", {**_BIT, "metavar": "BIT"}, "The mark's bit; default 14."),
    ("--conntrack-tcp-be-liberal", {**_BOOL, "default": False}, "Forward invalid packets, too."),
    ("--ipvs-scheduler", {"default": "rr", "metavar": "NAME"}, "IPVS' scheduler; default rr."),
    ("--ipvs-strict-arp", {**_BOOL, "default": False}, "arp_ignore and arp_announce."),
    ("--ipvs-tcp-timeout", _DURATION, "Of idle TCP."),
    ("--ipvs-tcpfin-timeout", _DURATION, "Of TCP after a FIN."),
    ("--ipvs-udp-timeout", _DURATION, "Of idle UDP."),
    ("--ipvs-exclude-cidrs", _CIDRS, "Virtual servers that are left alone."),
)


def kube_proxy_flags(function: Function) -> Function:
    """kube-proxy's own options, under its names and with its defaults."""
    for name, settings, text in reversed(_FLAGS):
        function = click.option(name, help=text, **settings)(function)
    return function


def given_flags(context: click.Context) -> list[str]:
    """Those that somebody typed."""
    typed = ParameterSource.COMMANDLINE
    names = (name for name, _, _ in _FLAGS)
    return [n for n in names if context.get_parameter_source(_parameter(n)) is typed]


def _parameter(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def kube_proxy_options(
    flags: Mapping[str, Any], mode: ProxyMode, release: Release
) -> KubeProxyOptions:
    """What the flags say; UsageError where kube-proxy would refuse them."""
    detection = DetectLocalMode(flags["detect_local_mode"])
    _require_interface(detection, flags)
    all_masqueraded = flags["masquerade_all"] and has(release, ReleaseChange.ONE_MASQUERADE_ALL)
    if flags["feature_gates"] != FeatureGates() and release < EXTERNAL_IPS_GATE_SINCE:
        hint = f"--kube-proxy-version {EXTERNAL_IPS_GATE_SINCE} is the first that has it"
        raise UsageError(f"kube-proxy {release} has no gate {EXTERNAL_IPS_GATE}", hint=hint)
    node_ports = flags["nodeport_addresses"]
    primary = node_ports == PRIMARY
    return KubeProxyOptions(
        mode=mode,
        cluster_cidrs=_cluster_cidrs(flags["cluster_cidr"], detection, release),
        detect_local_mode=detection,
        pod_bridge_interface=flags["pod_bridge_interface"],
        pod_interface_name_prefix=flags["pod_interface_name_prefix"],
        masquerade_all=flags["masquerade_all"],
        masquerade_bit=flags["iptables_masquerade_bit"],
        nodeport_addresses=() if primary else node_ports,
        nodeport_addresses_primary=primary,
        localhost_nodeports=flags["iptables_localhost_nodeports"],
        conntrack_tcp_be_liberal=flags["conntrack_tcp_be_liberal"],
        version=release,
        nfacct=NfacctUse(flags.get("nfacct", NfacctUse.AUTO)),
        feature_gates=flags["feature_gates"],
        nftables=NFTablesOptions(masquerade_all=all_masqueraded),
        ipvs=IPVSOptions(
            scheduler=flags["ipvs_scheduler"],
            strict_arp=flags["ipvs_strict_arp"],
            tcp_timeout=flags["ipvs_tcp_timeout"],
            tcp_fin_timeout=flags["ipvs_tcpfin_timeout"],
            udp_timeout=flags["ipvs_udp_timeout"],
            exclude_cidrs=flags["ipvs_exclude_cidrs"],
        ),
    )


def _cluster_cidrs(
    cidrs: tuple[IPNetwork, ...] | None, mode: DetectLocalMode, release: Release
) -> tuple[IPNetwork, ...]:
    """kube-proxy's own validation: one CIDR, or one of each family.

    Since 1.32 in the mode that reads them alone (validateDetectLocalConfiguration in
    pkg/proxy/apis/config/validation); and an empty value is a CIDR that can't be parsed.
    """
    changed = has(release, ReleaseChange.NO_EMPTY_CLUSTER_CIDR)
    if changed and mode is not DetectLocalMode.CLUSTER_CIDR:
        return cidrs or ()
    if cidrs == () and changed:
        message = f"--cluster-cidr: kube-proxy {release} refuses an empty value"
        raise UsageError(message, hint="leave the option out")
    if cidrs and len({cidr.version for cidr in cidrs}) < len(cidrs):
        message = "--cluster-cidr: neither a single CIDR nor one of each family"
        raise UsageError(message, hint="kube-proxy refuses it; leave a CIDR out")
    return cidrs or ()


def _require_interface(mode: DetectLocalMode, flags: Mapping[str, Any]) -> None:
    """kube-proxy's own validation: these modes need to know the interface."""
    needed = {
        DetectLocalMode.BRIDGE_INTERFACE: "pod_bridge_interface",
        DetectLocalMode.INTERFACE_NAME_PREFIX: "pod_interface_name_prefix",
    }
    name = needed.get(mode)
    if name and not flags[name]:
        option = "--" + name.replace("_", "-")
        raise UsageError(f"--detect-local-mode={mode} needs {option}", hint=f"add {option}=NAME")
