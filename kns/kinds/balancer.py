"""What a Service of type LoadBalancer asks of MetalLB, and whom it shares an address with.

Source: MetalLB controller/service.go (getDesiredLbIPs, SharingKey), internal/allocator
(Assign, sharingOK) and internal/allocator/k8salloc (BackendKey).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from kns.addresses import IPAddress, IPFamily
from kns.kinds.service import Service, ServiceType, TrafficPolicy

#: today's, and the one before it
PREFIXES = ("metallb.io/", "metallb.universe.tf/")
ADDRESSES, SHARING_KEY, ADDRESS_POOL = "loadBalancerIPs", "allow-shared-ip", "address-pool"


def annotation(service: Service, name: str) -> tuple[str, str]:
    """The key and the value of one of MetalLB's annotations, the newer first; or nothing."""
    for prefix in PREFIXES:
        if (value := service.annotations.get(prefix + name)) is not None:
            return prefix + name, value
    return "", ""


def wants_address(service: Service) -> bool:
    """Whether the lab's load balancer is to give it one: other classes are others' to serve."""
    return service.type is ServiceType.LOAD_BALANCER and not service.load_balancer_class


def asked_addresses(service: Service) -> tuple[IPAddress, ...]:
    """The addresses that it asks for. ValueError, in MetalLB's words, where they can't be given."""
    key, text = annotation(service, ADDRESSES)
    if not text:
        return (service.load_balancer_ip,) if service.load_balancer_ip else ()
    if service.load_balancer_ip:
        raise ValueError(f"service can not have both {key} and spec.loadBalancerIP")
    try:
        return tuple(ip_address(item.strip()) for item in text.split(","))
    except ValueError:
        raise ValueError(f'invalid {key}: "{text}"') from None


class SharedAddresses:
    """The load balancer's addresses that are in use, by which Services, on which ports."""

    def __init__(self, reserved: Iterable[IPAddress] = ()) -> None:
        self._reserved = set(reserved)
        self._users: dict[IPAddress, list[Service]] = {}

    def __len__(self) -> int:
        return len(self._reserved) + len(self._users)

    def clash(self, service: Service, address: IPAddress) -> tuple[Service, str] | None:
        """Who has the address and why the two can't share it; None if they can, or nobody has."""
        for other in self._users.get(address, ()):
            if reason := _not_shared(other, service):
                return other, reason
        return None

    def take(self, service: Service, addresses: Sequence[IPAddress]) -> bool:
        """Give it all of them, or none; False then."""
        if any(a in self._reserved or self.clash(service, a) for a in addresses):
            return False
        self.hold(service, addresses)
        return True

    def hold(self, service: Service, addresses: Iterable[IPAddress]) -> None:
        """Note that it has them, whoever else does."""
        for address in addresses:
            self._users.setdefault(address, []).append(service)


def _not_shared(one: Service, other: Service) -> str:
    """Why two Services can't share an address, or nothing."""
    first, second = annotation(one, SHARING_KEY)[1], annotation(other, SHARING_KEY)[1]
    if not first or first != second:
        return f"no common {PREFIXES[0]}{SHARING_KEY} lets them share it"
    if _backend_key(one) != _backend_key(other):
        return "with externalTrafficPolicy Local only the same selector lets them share it"
    used = {(port.protocol, port.port) for port in one.ports}
    clash = next((p for p in other.ports if (p.protocol, p.port) in used), None)
    return f"both use port {clash.port}/{clash.protocol}" if clash else ""


def _backend_key(service: Service) -> tuple[tuple[str, str], ...]:
    """What must be equal so that a node that has one's endpoints has the other's."""
    if service.external_traffic_policy is not TrafficPolicy.LOCAL:
        return ()
    return tuple(sorted((service.selector or {}).items()))


def families_asked(addresses: Iterable[IPAddress]) -> frozenset[IPFamily]:
    """The families of what is asked for: MetalLB wants them to be the Service's."""
    return frozenset(map(IPFamily.of, addresses))
