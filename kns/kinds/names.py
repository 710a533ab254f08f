"""What Kubernetes allows as a name, in apimachinery's words (util/validation/validation.go).

Every function gives the objection to a value, or nothing where it is good.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_ENV = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


@lru_cache(maxsize=4096)
def label_objection(value: str) -> str:
    """RFC 1123 label: namespaces, containers, pods' hostnames."""
    if len(value) > 63:
        return _too_long(63)
    if not _LABEL.fullmatch(value):
        return (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
            "and must start and end with an alphanumeric character"
        )
    return ""


def endpoint_port_name_objection(value: str) -> str:
    """A port's name in an EndpointSlice: empty for the one port of a Service that has no name."""
    return label_objection(value) if value else ""


@lru_cache(maxsize=4096)
def service_name_objection(value: str) -> str:
    """DNS-1035 label: services, which also become environment variables."""
    if len(value) > 63:
        return _too_long(63)
    if not _LABEL_1035.fullmatch(value):
        return (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
            "with an alphabetic character, and end with an alphanumeric character"
        )
    return ""


@lru_cache(maxsize=4096)
def subdomain_objection(value: str) -> str:
    """RFC 1123 subdomain: pods, nodes, EndpointSlices."""
    if len(value) > 253:
        return _too_long(253)
    if not _SUBDOMAIN.fullmatch(value):
        return (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.', and must start and end with an alphanumeric character"
        )
    return ""


@lru_cache(maxsize=1024)
def wildcard_objection(value: str) -> str:
    """A wildcard host of an Ingress: `*.` and a subdomain."""
    if len(value) > 253:
        return _too_long(253)
    if not value.startswith("*.") or not _SUBDOMAIN.fullmatch(value[2:]):
        return (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
            "subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and "
            "end with an alphanumeric character"
        )
    return ""


@lru_cache(maxsize=1024)
def port_name_objection(value: str) -> str:
    """IANA_SVC_NAME: container ports and named target ports."""
    if len(value) > 15:
        return "must be no more than 15 characters"
    if not re.fullmatch(r"[-a-z0-9]*", value):
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search(r"[a-z]", value):
        return "must contain at least one letter (a-z)"
    if "--" in value:
        return "must not contain consecutive hyphens"
    if value.startswith("-") or value.endswith("-"):
        return "must not begin or end with a hyphen"
    return ""


@lru_cache(maxsize=4096)
def label_key_objection(value: str) -> str:
    """A qualified name: the keys of labels and annotations."""
    prefix, slash, name = value.rpartition("/")
    if slash and (not prefix or subdomain_objection(prefix)):
        return "prefix part must be a lowercase RFC 1123 subdomain"
    if not name or len(name) > 63:
        return "name part must be 1 to 63 characters"
    if not _QUALIFIED.fullmatch(name):
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
            "and end with an alphanumeric character"
        )
    return ""


@lru_cache(maxsize=4096)
def label_value_objection(value: str) -> str:
    """A label's value; empty is good."""
    if len(value) > 63:
        return _too_long(63)
    if value and not _QUALIFIED.fullmatch(value):
        return (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
            "or '.', and must start and end with an alphanumeric character"
        )
    return ""


def env_name_objection(value: str) -> str:
    """A container's environment variable."""
    if not _ENV.fullmatch(value):
        return (
            "a valid environment variable name must consist of alphabetic characters, digits, "
            "'_', '-', or '.', and must not start with a digit"
        )
    return ""


def interface_objection(value: str) -> str:
    """A link's name: what IFNAMSIZ of linux/if.h and the kernel's dev_valid_name() allow.

    And nothing that rules or scripts would have to quote.
    """
    if len(value) > 15:
        return "must be no more than 15 characters"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", value) or value in {".", ".."}:
        return "must consist of alphanumeric characters, '-', '_' or '.'"
    return ""


def text_objection(value: str) -> str:
    """What can be an argument or an environment variable's value: no NUL ends it early."""
    return "must not contain a NUL character" if "\0" in value else ""


def word_objection(value: str) -> str:
    """A word of a file that is read line by line, as resolv.conf is."""
    if any(char.isspace() or not char.isprintable() for char in value):
        return "must not contain spaces or control characters"
    return ""


def name_hint(value: str, objection: Callable[[str], str]) -> str:
    """The nearest good name, where one can be made of the value."""
    kept = re.sub(r"[^a-z0-9.-]+", "-", value.lower()).strip("-.")
    for made in (kept, kept.replace(".", "-")):
        if made and made != value and not objection(made):
            return f'did you mean "{made}"?'
    return ""
