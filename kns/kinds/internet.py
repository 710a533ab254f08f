"""A host outside the cluster, which the Lab document has and Kubernetes has not."""

from __future__ import annotations

from dataclasses import dataclass

from kns.addresses import IPAddress
from kns.kinds.fields import ADDRESS, ADDRESSES, FLAG, LABEL_NAME, PORT
from kns.labfile.shape import Field, Shape


@dataclass(frozen=True, slots=True)
class InternetHost:
    """A host outside the cluster: a client, and a server on `port` unless that is 0."""

    name: str
    addresses: tuple[IPAddress, ...]
    port: int = 80


def _host(
    name: str,
    address: IPAddress | None = None,
    addresses: tuple[IPAddress, ...] = (),
    port: int = 80,
    server: bool = True,  # noqa: FBT001, FBT002 - called with what was read, by name
) -> InternetHost:
    written = addresses if address is None else (address, *addresses)
    return InternetHost(name, written, port if server else 0)


SHAPE = Shape(
    _host,
    Field("name", LABEL_NAME, required=True),
    Field("address", ADDRESS, default=None),
    Field("addresses", ADDRESSES, default=[]),
    Field("port", PORT),
    Field("server", FLAG, default=True),
    of=InternetHost,
    title="Internet",
    doc="A host outside the cluster: a client, and a server unless `server: false`.",
)
