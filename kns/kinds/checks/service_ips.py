"""Checks of a Service's IP families and cluster IPs.

Source: pkg/apis/core/validation ValidateServiceClusterIPsRelatedFields, and the allocators of
pkg/registry/core/service.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

from kns.addresses import IPAddress, IPFamily
from kns.errors import Problem
from kns.kinds.networks import Networks
from kns.kinds.service import IPFamilyPolicy, Service, ServiceType
from kns.labfile.document import Path
from kns.labfile.place import Place
from kns.labfile.wording import shown


def written_cluster_ips(spec: Service, place: Place) -> list[tuple[IPAddress, Path]]:
    """The cluster IPs that a Service asks for, each with its path."""
    single, listed = place.get("clusterIP"), place.get("clusterIPs")
    paths: list[Path] = [("clusterIP",)] if single not in _NO_ADDRESS else []
    for index, item in enumerate(listed if isinstance(listed, list) else ()):
        if item not in _NO_ADDRESS and not _same_address(item, single):
            paths.append(("clusterIPs", index))
    return list(zip(spec.cluster_ips, paths, strict=True))


_NO_ADDRESS = (None, "", "None")


def _same_address(one: object, other: object) -> bool:
    """Whether two texts are one address, however they are written."""
    if other in _NO_ADDRESS:
        return False
    return ip_address(str(one)) == ip_address(str(other))


def check_families(spec: Service, place: Place, nets: Networks) -> Iterator[Problem]:
    """Families that the cluster has not, or a policy that contradicts them."""
    configured = [IPFamily(f"IPv{family}") for family in nets.families]
    if len(set(spec.ip_families)) != len(spec.ip_families):
        message = f"Duplicate value: {shown(spec.ip_families[-1])}"
        yield place.problem(("ipFamilies",), message)
    for index, family in enumerate(spec.ip_families):
        if family not in configured:
            message = f"Invalid value: {shown(family)}: not configured on this cluster"
            hint = "set networking.ipFamily: dual"
            yield place.problem(("ipFamilies", index), message, hint)
    if spec.ip_family_policy is IPFamilyPolicy.REQUIRE_DUAL_STACK and len(configured) < 2:
        message = (
            'Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services"
        )
        yield place.problem(("ipFamilyPolicy",), message, "set networking.ipFamily: dual")
    if spec.ip_family_policy is IPFamilyPolicy.SINGLE_STACK:
        for field, count in (
            ("ipFamilies", len(spec.ip_families)),
            ("clusterIPs", len(_listed(place))),
        ):
            if count > 1:
                message = (
                    'Invalid value: "SingleStack": must be RequireDualStack or PreferDualStack '
                    f"when multiple {field} are specified"
                )
                yield place.problem(("ipFamilyPolicy",), message)


def check_cluster_ips(spec: Service, place: Place, nets: Networks) -> Iterator[Problem]:
    """Cluster IPs that contradict each other, the families or the service subnets."""
    single, listed = place.get("clusterIP"), _listed(place)
    if listed and not single and place.paths:
        message = f"Invalid value: {shown(listed)}: must be empty when `clusterIP` is not specified"
        yield place.problem(("clusterIPs",), message, f"add `clusterIP: {listed[0]}`")
    if single and listed and not _matches(listed[0], single):
        message = f"Invalid value: {shown(listed[0])}: must match `clusterIP`"
        yield place.problem(("clusterIPs", 0), message)
    if len(listed) > 2:
        yield place.problem(("clusterIPs",), "Invalid value: may only hold up to 2 values")
    if spec.without_cluster_ip and len(listed) > 1:
        message = 'Invalid value: "None": may hold no other value beside "None"'
        yield place.problem(("clusterIPs",), message)
    written = written_cluster_ips(spec, place)
    versions = [address.version for address, _ in written]
    if len(set(versions)) != len(versions):
        message = "Invalid value: may specify no more than one IP for each IP family"
        yield place.problem(("clusterIPs",), message)
    elif len(versions) == 2 and len(nets.families) == 1:
        message = "Invalid value: may specify only one IP: the cluster is not dual-stack"
        yield place.problem(("clusterIPs",), message, "set networking.ipFamily: dual")
    if spec.type is not ServiceType.EXTERNAL_NAME:
        for index, (address, path) in enumerate(written):
            if objection := _cluster_ip_objection(spec, nets, index, address):
                message = f"Invalid value: {shown(address)}: {objection}"
                yield place.problem(path, message)


def _cluster_ip_objection(spec: Service, nets: Networks, index: int, address: IPAddress) -> str:
    if index < len(spec.ip_families) and IPFamily.of(address) is not spec.ip_families[index]:
        family = spec.ip_families[index]
        return f"expected an {family} value as indicated by `ipFamilies[{index}]`"
    if address.version not in nets.families:
        return f"the cluster has no IPv{address.version}"
    subnet = nets.service[nets.families.index(address.version)]
    if address not in subnet:
        return (
            f"failed to allocate IP {address}: the provided IP is not in the valid range. "
            f"The range of valid IPs is {subnet}"
        )
    if address == subnet[0] or (isinstance(address, IPv4Address) and address == subnet[-1]):
        return f"failed to allocate IP {address}: it is an end of the range {subnet}"
    return ""


def _listed(place: Place) -> list[object]:
    """`clusterIPs` as written."""
    listed = place.get("clusterIPs")
    return listed if isinstance(listed, list) else []


def _matches(one: object, other: object) -> bool:
    return one == other or (one not in _NO_ADDRESS and _same_address(one, other))
