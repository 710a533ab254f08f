"""ServiceCIDR of networking.k8s.io/v1: a range from which Services get their cluster IPs."""

from __future__ import annotations

from dataclasses import dataclass

from kns.addresses import IPNetwork
from kns.kinds.common import Labels
from kns.kinds.fields import DUAL_STACK_CIDRS, LABELS_FIELD, METADATA_PATHS, OBJECT_NAME, in_spec
from kns.labfile.shape import Field, Form, Shape


@dataclass(frozen=True, slots=True)
class ServiceCIDR:
    """A range of cluster IPs for each family that it has one for."""

    name: str
    cidrs: tuple[IPNetwork, ...]


def _service_cidr(
    name: str,
    cidrs: tuple[IPNetwork, ...],
    labels: Labels | None = None,  # noqa: ARG001 - nothing depends on them
) -> ServiceCIDR:
    return ServiceCIDR(name, cidrs)


SHAPE = Shape(
    _service_cidr,
    Field("name", OBJECT_NAME, required=True),
    LABELS_FIELD,
    Field("cidrs", DUAL_STACK_CIDRS, required=True),
    of=ServiceCIDR,
)
FORM = Form(SHAPE, {**METADATA_PATHS, **in_spec("cidrs")})
