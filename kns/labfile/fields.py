"""The types of the spec's fields: a value and what Kubernetes demands of it.

Each parses what YAML gave into the type that the rest of kns uses, or says what is wrong.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from kns.labfile import names
from kns.labfile.problems import invalid

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def parse_address(value: object) -> IPAddress:
    """An IP address, in the form that Kubernetes takes."""
    if not isinstance(value, str):
        raise _must_be_string(value)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise invalid(value, _BAD_ADDRESS, _address_hint(value)) from None
    if "%" in value:
        raise invalid(value, _BAD_ADDRESS, "an address has no zone here")
    return address


def _address_hint(value: str) -> str:
    if "/" in value:
        return "an address has no prefix length here"
    parts = value.split(".")
    if len(parts) == 4 and all(part.isdecimal() for part in parts):
        if any(len(part) > 1 and part.startswith("0") for part in parts):
            return "write the numbers without leading zeros"
        return "each number is at most 255"
    return ""


def parse_cidr(value: object) -> IPNetwork:
    """A network; host bits are an error, because one of the two is a slip."""
    if not isinstance(value, str):
        raise _must_be_string(value)
    text = value.strip()
    network = _network(text)
    if network is None:
        hint = "" if "/" in text else "a network needs a prefix length, such as /24"
        raise invalid(value, _BAD_CIDR, hint)
    if ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise invalid(value, "the address has bits set after the prefix", f"write {network}")
    return network


def _network(text: str) -> IPNetwork | None:
    """The network that `text` is in Kubernetes' eyes: with a prefix length, without a zone."""
    if "/" not in text or "%" in text or not text.partition("/")[2].isdecimal():
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def parse_cidrs(value: object) -> tuple[IPNetwork, ...]:
    """One network or two of different families: a list, or separated by a comma as kind has it."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise _must_be_string(value)
    networks = tuple(parse_cidr(item) for item in items)
    if not networks or len(networks) > 2:
        raise invalid(value, "may hold one CIDR, or two of different families")
    if len({network.version for network in networks}) != len(networks):
        raise invalid(value, "may hold no more than one CIDR of each IP family")
    return networks


def parse_target_port(value: object) -> int | str:
    """A port number or the name of a container port."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _in_range(1, 65535)(value)
    if isinstance(value, str):
        objection = names.port_name_objection(value)
        if objection:
            hint = f"write it without quotes: {value}" if value.isdecimal() else ""
            raise invalid(value, objection, hint)
        return value
    raise invalid(value, "must be a port number or the name of a container port")


def parse_cluster_ip(value: object) -> IPAddress | Literal["None", ""]:
    """An IP address, `None` for a headless Service, or nothing."""
    if value == "None":
        return "None"
    if value == "":
        return ""
    if isinstance(value, str) and value.lower() == "none":
        raise invalid(value, 'must be empty, "None", or a valid IP address', 'write "None"')
    return parse_address(value)


def parse_port_range(value: object) -> tuple[int, int]:
    """`30000-32767`, as kube-apiserver's --service-node-port-range."""
    hint = "write it as 30000-32767"
    first, dash, last = value.partition("-") if isinstance(value, str) else ("", "", "")
    if not dash or not (first.isdecimal() and last.isdecimal() and len(value) <= 11):  # type: ignore[arg-type]
        raise invalid(value, "must be a range of ports", hint)
    low, high = int(first), int(last)
    if not 1 <= low <= high <= 65535:
        raise invalid(value, "must be a range within 1-65535, the lower port first", hint)
    return low, high


def parse_node_port_address(value: object) -> IPNetwork | Literal["primary"]:
    """A network, or kube-proxy's word for the node's own address of each family."""
    return "primary" if value == "primary" else parse_cidr(value)


def parse_source_range(value: object) -> str:
    """A network that kube-proxy parses leniently; kept as it is written."""
    if not isinstance(value, str):
        raise _must_be_string(value)
    if _network(value.strip()) is None:
        raise invalid(value, _BAD_CIDR)
    return value


def check_labels(value: Mapping[str, str]) -> Mapping[str, str]:
    """Labels with keys and values that Kubernetes takes."""
    for key, item in value.items():
        if objection := names.label_key_objection(key):
            raise invalid(key, objection)
        if objection := names.label_value_objection(item):
            raise invalid(item, f"{key}: {objection}")
    return value


def check_annotations(value: Mapping[str, str]) -> Mapping[str, str]:
    """Annotations: keys as labels have them (in any case), free values."""
    for key in value:
        if objection := names.label_key_objection(key.lower()):
            raise invalid(key, objection)
    return value


def _must_be_string(value: object) -> PydanticCustomError:
    return invalid(value, "must be a string")


def between(low: int, high: int) -> AfterValidator:
    """The bounds of a number, said as Kubernetes says them."""
    return AfterValidator(_in_range(low, high))


def _in_range(low: int, high: int) -> Callable[[int], int]:
    def check(value: int) -> int:
        if not low <= value <= high:
            raise invalid(value, f"must be between {low} and {high}, inclusive")
        return value

    return check


def _checked(objection: Callable[[str], str]) -> AfterValidator:
    def check(value: str) -> str:
        if found := objection(value):
            raise invalid(value, found)
        return value

    return AfterValidator(check)


def _named(objection: Callable[[str], str]) -> AfterValidator:
    """As `_checked`, with the nearest good name as hint."""

    def check(value: str) -> str:
        if found := objection(value):
            raise invalid(value, found, names.name_hint(value, objection))
        return value

    return AfterValidator(check)


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """A field that `parse` makes of what YAML gave, and its JSON schema.

    As pydantic's PlainValidator, which would also build the schema of the type for nothing.
    """

    parse: Callable[[object], object]
    json_schema: Mapping[str, object]

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        return dict(self.json_schema)


_ADDRESS_SCHEMA = {"type": "string", "examples": ["10.9.8.7", "2001:db8::ffff"]}
_CIDR_SCHEMA = {"type": "string", "examples": ["10.9.8.0/24", "2001:db8::/64"]}

Flag = Annotated[bool, Strict()]
Int = Annotated[int, Strict()]
Address = Annotated[IPAddress, Parsed(parse_address, _ADDRESS_SCHEMA)]
Cidr = Annotated[IPNetwork, Parsed(parse_cidr, _CIDR_SCHEMA)]
Cidrs = Annotated[
    tuple[IPNetwork, ...],
    Parsed(
        parse_cidrs,
        {
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "examples": ["10.244.0.0/16", "10.244.0.0/16,fd00:10:244::/56"],
        },
    ),
]
NodePortAddress = Annotated[
    IPNetwork | Literal["primary"], Parsed(parse_node_port_address, _CIDR_SCHEMA)
]
SourceRange = Annotated[str, Parsed(parse_source_range, _CIDR_SCHEMA)]
Port = Annotated[
    int,
    Strict(),
    AfterValidator(_in_range(1, 65535)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 65535}),
]
#: 0 leaves the choice to the cluster
NodePort = Annotated[int, Strict(), between(0, 65535)]
Seconds = Annotated[int, Strict(), between(0, 2**31 - 1)]
ClusterIP = Annotated[IPAddress | Literal["None", ""], Parsed(parse_cluster_ip, _ADDRESS_SCHEMA)]
PortRange = Annotated[
    tuple[int, int],
    Parsed(parse_port_range, {"type": "string", "pattern": "^[0-9]+-[0-9]+$"}),
]
TargetPort = Annotated[
    int | str,
    Parsed(
        parse_target_port,
        {"oneOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]},
    ),
]
LabelName = Annotated[str, _named(names.label_objection)]
EndpointPortName = Annotated[str, _named(names.endpoint_port_name_objection)]
ServiceName = Annotated[str, _named(names.service_name_objection)]
Subdomain = Annotated[str, _named(names.subdomain_objection)]
PortName = Annotated[str, _named(names.port_name_objection)]
EnvName = Annotated[str, _checked(names.env_name_objection)]
LabelValue = Annotated[str, _named(names.label_value_objection)]
QualifiedName = Annotated[str, _named(names.label_key_objection)]
InterfaceName = Annotated[str, _checked(names.interface_objection)]
#: an argument or value that a process gets
Text = Annotated[str, _checked(names.text_objection)]
#: one word of a line of a configuration file
Word = Annotated[str, _checked(names.word_objection)]
Labels = Annotated[Mapping[str, str], AfterValidator(check_labels)]
Annotations = Annotated[Mapping[str, str], AfterValidator(check_annotations)]
