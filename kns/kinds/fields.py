"""The types of the fields of Kubernetes' objects: what each may hold, in Kubernetes' words.

An API server's own objects are read more leniently, as kube-proxy does: it has validated them, and
objects from before Kubernetes 1.22 may have addresses with leading zeros.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kinds import names
from kns.kinds.common import Protocol
from kns.labfile.reader import (
    JSON,
    REQUIRED,
    Choice,
    Definitions,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Mapped,
    Parsed,
    Reading,
    Schema,
    Text,
    Type,
)
from kns.labfile.shape import Field
from kns.labfile.wording import RefusedError, wrong_type

_BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ADDRESS_SCHEMA: Mapping[str, JSON] = {
    "type": "string",
    "examples": ["10.9.8.7", "2001:db8::ffff"],
}
_CIDR_SCHEMA: Mapping[str, JSON] = {
    "type": "string",
    "examples": ["10.9.8.0/24", "2001:db8::/64"],
}
_CIDRS_SCHEMA: Mapping[str, JSON] = {
    "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    "examples": ["10.244.0.0/16", "10.244.0.0/16,fd00:10:244::/56"],
}
_PORT_SCHEMA: Mapping[str, JSON] = {
    "oneOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]
}


# -- addresses and networks ------------------------------------------------------------------------


def _address(value: object) -> IPAddress:
    """An IP address, in the form that Kubernetes takes."""
    if not isinstance(value, str):
        raise RefusedError.invalid(value, "must be a string")
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise RefusedError.invalid(value, _BAD_ADDRESS, _address_hint(value)) from None
    if "%" in value:
        raise RefusedError.invalid(value, _BAD_ADDRESS, "an address has no zone here")
    return address


@dataclass(frozen=True, slots=True)
class SpelledAddress:
    """An address and how it was spelled."""

    address: IPAddress
    spelling: str


class _SpelledAddress(Type[SpelledAddress]):
    """An address whose spelling somebody goes by."""

    def read(self, value: object, reading: Reading) -> SpelledAddress:
        """Both."""
        return SpelledAddress(ADDRESS.read(value, reading), str(value))

    def schema(self, definitions: Definitions) -> Schema:
        """An address."""
        return ADDRESS.schema(definitions)


class _AskedAddress(Type[IPAddress | None]):
    """`spec.loadBalancerIP`: the API server takes any text, whoever gives addresses reads it."""

    def read(self, value: object, reading: Reading) -> IPAddress | None:
        """The address; None for what is none, but in the Lab document, where it is a slip."""
        if not isinstance(value, str):
            raise wrong_type("a string", value)
        try:
            return _address(value) if value else None
        except RefusedError:
            if reading.strict:
                raise
            return None

    def schema(self, _definitions: Definitions) -> Schema:
        """An address."""
        return dict(_ADDRESS_SCHEMA)


def _address_hint(value: str) -> str:
    if "/" in value:
        return "an address has no prefix length here"
    parts = value.split(".")
    if len(parts) == 4 and all(part.isdecimal() for part in parts):
        if any(len(part) > 1 and part.startswith("0") for part in parts):
            return "write the numbers without leading zeros"
        return "each number is at most 255"
    return ""


def _served_address(value: object) -> IPAddress:
    """As Go's ParseIPSloppy: leading zeros are decimal."""
    if isinstance(value, str):
        try:
            return ipaddress.ip_address(_decimal(value))
        except ValueError:
            pass
    raise RefusedError.invalid(value, _BAD_ADDRESS)


def _decimal(text: str) -> str:
    """`text` with leading zeros removed from the numbers of an IPv4 address."""
    if ":" in text:
        return text
    return ".".join(part.lstrip("0") or part[:1] for part in text.split("."))


def _cidr(value: object) -> IPNetwork:
    """A network; host bits are an error, because one of the two is a slip."""
    if not isinstance(value, str):
        raise RefusedError.invalid(value, "must be a string")
    text = value.strip()
    network = _network(text)
    if network is None:
        hint = "" if "/" in text else "a network needs a prefix length, such as /24"
        raise RefusedError.invalid(value, _BAD_CIDR, hint)
    if ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        message = "the address has bits set after the prefix"
        raise RefusedError.invalid(value, message, f"write {network}")
    return network


def _network(text: str) -> IPNetwork | None:
    """The network that `text` is in Kubernetes' eyes: with a prefix length, without a zone."""
    if "/" not in text or "%" in text or not text.partition("/")[2].isdecimal():
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _served_cidr(value: object) -> IPNetwork:
    if isinstance(value, str) and "/" in value:
        address, _, prefix = value.strip().partition("/")
        try:
            return ipaddress.ip_network(f"{_decimal(address)}/{prefix}", strict=False)
        except ValueError:
            pass
    raise RefusedError.invalid(value, _BAD_CIDR)


def _cidrs(value: object) -> tuple[IPNetwork, ...]:
    """One network or two of different families: a list, or separated by a comma as kind has it."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise RefusedError.invalid(value, "must be a string")
    networks = tuple(_cidr(item) for item in items)
    if not networks:
        raise RefusedError.invalid(value, "may hold one CIDR, or two of different families")
    return _of_different_families(networks)


#: what is wrong with two CIDRs of one family, and what to do
ONE_OF_EACH_FAMILY = (
    "may hold no more than one CIDR of each IP family",
    "leave all but one out; dual stack is one IPv4 and one IPv6 CIDR",
)


def _of_different_families(networks: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
    """Dual stack is one of each family: IsDualStackCIDRStrings of k8s.io/utils/net."""
    if len({network.version for network in networks}) != len(networks):
        value = ",".join(map(str, networks))
        raise RefusedError.invalid(value, *ONE_OF_EACH_FAMILY)
    return networks


def _cluster_ip(value: object) -> IPAddress | Literal["None", ""]:
    """An IP address, `None` for a headless Service, or nothing."""
    if value == "None":
        return "None"
    if value == "":
        return ""
    if isinstance(value, str) and value.lower() == "none":
        message = 'must be empty, "None", or a valid IP address'
        raise RefusedError.invalid(value, message, 'write "None"')
    return _address(value)


def _served_cluster_ip(value: object) -> IPAddress | Literal["None", ""]:
    if value == "None":
        return "None"
    return "" if value == "" else _served_address(value)


def _node_port_address(value: object) -> IPNetwork | Literal["primary"]:
    """A network, or kube-proxy's word for the node's own address of each family."""
    return "primary" if value == "primary" else _cidr(value)


def _source_range(value: object) -> str:
    """A network that kube-proxy parses leniently; kept as it is written."""
    if not isinstance(value, str):
        raise RefusedError.invalid(value, "must be a string")
    if _network(value.strip()) is None:
        raise RefusedError.invalid(value, _BAD_CIDR)
    return value


def _served_source_range(value: object) -> str:
    """Whatever the API server took: kube-proxy logs what it can't parse, and goes on."""
    if not isinstance(value, str):
        raise RefusedError.invalid(value, "must be a string")
    return value


# -- ports -----------------------------------------------------------------------------------------


def _target_port(value: object) -> int | str:
    """A port number or the name of a container port."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 65535:
            raise RefusedError.invalid(value, "must be between 1 and 65535, inclusive")
        return value
    if isinstance(value, str):
        if objection := names.port_name_objection(value):
            hint = f"write it without quotes: {value}" if value.isdecimal() else ""
            raise RefusedError.invalid(value, objection, hint)
        return value
    raise RefusedError.invalid(value, "must be a port number or the name of a container port")


def _served_target_port(value: object) -> int | str:
    """Whatever name it has; 0 is the port itself."""
    return 0 if value == 0 else value if isinstance(value, str) else _target_port(value)


def _port_range(value: object) -> tuple[int, int]:
    """`30000-32767`, as kube-apiserver's --service-node-port-range."""
    hint = "write it as 30000-32767"
    text = value if isinstance(value, str) else ""
    first, dash, last = text.partition("-")
    if not dash or not (first.isdecimal() and last.isdecimal() and len(text) <= 11):
        raise RefusedError.invalid(value, "must be a range of ports", hint)
    low, high = int(first), int(last)
    if not 1 <= low <= high <= 65535:
        message = "must be a range within 1-65535, the lower port first"
        raise RefusedError.invalid(value, message, hint)
    return low, high


# -- labels ----------------------------------------------------------------------------------------


def _check_labels(value: Mapping[str, str]) -> None:
    for key, item in value.items():
        if objection := _label_objection(key, item):
            shown, message = (key, objection[1:]) if objection[0] == "k" else (item, objection[1:])
            raise RefusedError.invalid(shown, message)


@lru_cache(maxsize=4096)
def _label_objection(key: str, value: str) -> str:
    """What is wrong with a label, after a letter: k for its key, v for its value."""
    if objection := names.label_key_objection(key):
        return f"k{objection}"
    if objection := names.label_value_objection(value):
        return f"v{key}: {objection}"
    return ""


def _check_annotations(value: Mapping[str, str]) -> None:
    """Keys as labels have them (in any case), free values."""
    for key in value:
        if objection := names.label_key_objection(key.lower()):
            raise RefusedError.invalid(key, objection)


# -- the types -------------------------------------------------------------------------------------


def _named(objection: Callable[[str], str], *, served: Callable[[str], str] | None = None) -> Text:
    """Text with the nearest good name as hint."""
    return Text(objection, lambda value: names.name_hint(value, objection), served=served)


def _there(value: str) -> str:
    return "" if value else "must not be empty"


def _filled_word(value: str) -> str:
    return names.word_objection(value) if value else REQUIRED


ANY_TEXT = Text()
FLAG = Flag()
ADDRESS = Parsed(_address, _ADDRESS_SCHEMA, served=_served_address)
SPELLED_ADDRESS = _SpelledAddress()
ASKED_ADDRESS = _AskedAddress()
CIDR = Parsed(_cidr, _CIDR_SCHEMA, served=_served_cidr)
#: with host bits, which are masked, and leading zeros: what the API server takes of old fields
LENIENT_CIDR = Parsed(_served_cidr, _CIDR_SCHEMA)
CIDRS = Parsed(_cidrs, _CIDRS_SCHEMA)
NODE_PORT_ADDRESS = Parsed(_node_port_address, _CIDR_SCHEMA)
SOURCE_RANGE = Parsed(_source_range, _CIDR_SCHEMA, served=_served_source_range)
CLUSTER_IP = Parsed(_cluster_ip, _ADDRESS_SCHEMA, served=_served_cluster_ip)
PORT = Integer(1, 65535)
#: 0 leaves the choice to the cluster
NODE_PORT = Integer(0, 65535)
SECONDS = Integer(0, 2**31 - 1)
PORT_RANGE = Parsed(_port_range, {"type": "string", "pattern": "^[0-9]+-[0-9]+$"})
TARGET_PORT = Parsed(_target_port, _PORT_SCHEMA, served=_served_target_port)
PROTOCOL = Choice(Protocol)
FAMILY = Choice(IPFamily)

LABEL_NAME = _named(names.label_objection)
OBJECT_NAMESPACE = _named(names.label_objection)
SUBDOMAIN = _named(names.subdomain_objection)
#: `metadata.name` of most kinds
OBJECT_NAME = _named(names.subdomain_objection, served=_there)
SERVICE_NAME = _named(names.service_name_objection, served=_there)
PORT_NAME = _named(names.port_name_objection)
ENDPOINT_PORT_NAME = _named(names.endpoint_port_name_objection)
LABEL_VALUE = _named(names.label_value_objection)
QUALIFIED_NAME = _named(names.label_key_objection)
ENV_NAME = Text(names.env_name_objection)
INTERFACE_NAME = Text(names.interface_objection)
#: an argument or value that a process gets
ARGUMENT = Text(names.text_objection)
#: one word of a line of a configuration file
WORD = Text(names.word_objection)
FILLED_WORD = Text(_filled_word)
LABELS = MapOf(_check_labels)
ANNOTATIONS = MapOf(_check_annotations)
ADDRESSES = ListOf(ADDRESS)
CIDR_LIST = ListOf(CIDR)
#: of Kubernetes' own objects: one, or one of each family
DUAL_STACK_CIDRS = Mapped(CIDR_LIST, _of_different_families)
TEXTS = ListOf(ANY_TEXT)
ARGUMENTS = ListOf(ARGUMENT)

# -- metadata --------------------------------------------------------------------------------------

NAMESPACE_FIELD = Field("namespace", OBJECT_NAMESPACE, default="default", zero=True)
LABELS_FIELD = Field("labels", LABELS, default={})
ANNOTATIONS_FIELD = Field("annotations", ANNOTATIONS, default={})
NAMED = (Field("name", OBJECT_NAME, required=True), NAMESPACE_FIELD, LABELS_FIELD)
#: where a manifest keeps them
METADATA_PATHS: Mapping[str, tuple[str, str]] = {
    name: ("metadata", name) for name in ("name", "namespace", "labels", "annotations")
}


def in_spec(*fields: str) -> dict[str, tuple[str, str]]:
    """The fields of `spec`."""
    return {name: ("spec", name) for name in fields}
