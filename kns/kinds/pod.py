"""Pod, its containers and its DNS configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Labels, Protocol
from kns.kinds.env import ENV, ENV_FROM, EnvVar, KeySource
from kns.kinds.fields import (
    ADDRESS,
    ADDRESSES,
    ANNOTATIONS_FIELD,
    ANY_TEXT,
    ARGUMENTS,
    FILLED_WORD,
    FLAG,
    LABEL_NAME,
    LABELS,
    METADATA_PATHS,
    NAMED,
    NODE_PORT,
    PORT,
    PORT_NAME,
    PROTOCOL,
    QUALIFIED_NAME,
    SECONDS,
    SUBDOMAIN,
    TEXTS,
    WORD,
)
from kns.kinds.lifecycle import FIELDS as LIFECYCLE_FIELDS
from kns.kinds.lifecycle import Lifecycle, Probe
from kns.kinds.marks import COMPONENT, READY, SERVING, TERMINATING, without_marks
from kns.kinds.scheduling import (
    AFFINITY,
    TOLERATION,
    HostPort,
    NodeSelectorTerm,
    Toleration,
    Wishes,
)
from kns.labfile.reader import Choice, ListOf, Text
from kns.labfile.shape import Field, Shape

#: a pod without containers gets one server on this port
DEFAULT_PORT = 8080
#: the restartPolicy of an init container that makes it a sidecar
ALWAYS = "Always"


class DNSPolicy(StrEnum):
    """`pod.spec.dnsPolicy`."""

    CLUSTER_FIRST = "ClusterFirst"
    CLUSTER_FIRST_WITH_HOST_NET = "ClusterFirstWithHostNet"
    DEFAULT = "Default"
    NONE = "None"


class RestartPolicy(StrEnum):
    """When a container that has ended is started again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


#: seconds from SIGTERM to SIGKILL, where a pod says nothing (corev1.DefaultTerminationGrace…)
GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container listens on; `port` is short for `containerPort`.

    `hostPort` is a port of the pod's node that leads to it, at `hostIP` or at all its addresses.
    """

    port: int
    name: str = ""
    protocol: Protocol = Protocol.TCP
    #: the port of the node that leads to it, 0 if none
    host_port: int = 0
    host_ip: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A container: a built-in server on its ports, or the process that `command` and `args` are.

    `port: 8080` is short for `ports: [{containerPort: 8080}]`.
    """

    name: str
    ports: tuple[ContainerPort, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    #: in what is read: objects whose keys are variables, too
    env_from: tuple[KeySource, ...] = ()
    #: an init container that restarts always: it runs beside the others
    is_sidecar: bool = False
    #: the real program of kns' own that runs in it instead (`nginx`)
    component: str = ""
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle = field(default_factory=Lifecycle)


@dataclass(frozen=True, slots=True)
class DNSOption:
    """One option of resolv.conf."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class DNSConfig:
    """`pod.spec.dnsConfig`."""

    nameservers: tuple[IPAddress, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DNSOption, ...] = ()


@dataclass(frozen=True, slots=True)
class HostAlias:
    """Names of an address in the pod's hosts file."""

    ip: IPAddress
    hostnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod. Resolved, it is scheduled and has its addresses, one for each family of the cluster.

    As read, `node` is the one that it asks for, or empty. With `host_network` its containers run
    in the node's netns: the addresses are the node's, and so are the ports.
    """

    namespace: str
    name: str
    node: str
    addresses: tuple[IPAddress, ...]
    labels: Labels = field(default_factory=dict)
    containers: tuple[Container, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    dns_policy: DNSPolicy = DNSPolicy.CLUSTER_FIRST
    dns_config: DNSConfig = field(default_factory=DNSConfig)
    enable_service_links: bool = True
    host_network: bool = False
    host_aliases: tuple[HostAlias, ...] = ()
    annotations: Labels = field(default_factory=dict)
    service_account: str = "default"
    automount_service_account_token: bool | None = None
    node_selector: Labels = field(default_factory=dict)
    #: any of these terms; None: any node
    node_affinity: tuple[NodeSelectorTerm, ...] | None = None
    tolerations: tuple[Toleration, ...] = ()
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    termination_grace_period_seconds: int = GRACE_SECONDS
    #: conditions that somebody else sets, without which it is not ready
    readiness_gates: tuple[str, ...] = ()

    @property
    def wishes(self) -> Wishes:
        """What it asks of its node."""
        return Wishes(self.node_selector, self.node_affinity, self.tolerations)

    @property
    def host_ports(self) -> tuple[HostPort, ...]:
        """The ports of its node that it takes: in the host network those of its containers."""
        return tuple(
            HostPort(port.host_port or port.port, port.protocol, port.host_ip)
            for container in self.containers
            for port in container.ports
            if port.host_port or self.host_network
        )

    @property
    def asks_cluster_dns(self) -> bool:
        """Whether its resolv.conf names the cluster's DNS (kubelet's getPodDNSType).

        In the host network ClusterFirst is the same as Default; ClusterFirstWithHostNet is there
        for pods that mean it.
        """
        if self.dns_policy is DNSPolicy.CLUSTER_FIRST:
            return not self.host_network
        return self.dns_policy is DNSPolicy.CLUSTER_FIRST_WITH_HOST_NET

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def address(self, family: IPFamily) -> IPAddress | None:
        """Its address of that family."""
        return next((a for a in self.addresses if a.version == family.version), None)


# -- reading ---------------------------------------------------------------------------------------


def _container_port(
    port: int | None = None, container_port: int | None = None, **rest: Any
) -> ContainerPort:
    """0 where neither is written, which the checks tell."""
    number = container_port if port is None else port
    return ContainerPort(number or 0, **rest)


def _container(
    name: str = "",
    port: int | None = None,
    ports: tuple[ContainerPort, ...] = (),
    command: tuple[str, ...] = (),
    args: tuple[str, ...] = (),
    **rest: Any,
) -> Container:
    short = (ContainerPort(port),) if port is not None else ()
    return Container(name, (*short, *ports), (*command, *args), **rest)


def _without_image(image: str = "", **rest: Any) -> Container:
    """A command in an image is not kns' to run; its ports are served all the same."""
    if image:
        rest = {key: value for key, value in rest.items() if key not in {"command", "args"}}
    return _container(**rest)


def _init_container(restart_policy: str = "", **rest: Any) -> Container | None:
    """None for one that ends before the others start; kns runs no such."""
    if restart_policy != ALWAYS:
        return None
    return replace(_without_image(**rest), is_sidecar=True)


def pod(  # noqa: PLR0913, PLR0917 - the fields of a pod
    name: str,
    namespace: str = "default",
    node: str = "",
    containers: tuple[Container, ...] = (),
    init_containers: tuple[Container | None, ...] = (),
    ready: bool = True,  # noqa: FBT001, FBT002 - called with what was read, by name
    annotations: Labels | None = None,
    **rest: Any,
) -> Pod:
    """A pod as read: each container has a name, and a pod that names none has a server.

    Sidecars come last, in which order Kubernetes looks for a named port (FindPort).
    """
    own = containers or (Container("", (ContainerPort(DEFAULT_PORT),)),)
    sidecars = tuple(container for container in init_containers if container is not None)
    marks = annotations or {}
    ready = ready and marks.get(READY) != "false"
    own = _with_component(_with_names((*own, *sidecars)), marks.get(COMPONENT, ""))
    return Pod(
        namespace,
        name,
        node,
        (),
        containers=own,
        ready=ready,
        annotations=without_marks(marks),
        **{
            "serving": marks[SERVING] == "true" if SERVING in marks else ready,
            "terminating": marks.get(TERMINATING) == "true",
            **rest,
        },
    )


def _with_component(containers: tuple[Container, ...], component: str) -> tuple[Container, ...]:
    if not component:
        return containers
    return (replace(containers[0], component=component), *containers[1:])


def _with_names(containers: tuple[Container, ...]) -> tuple[Container, ...]:
    """A container without a name is `server`, the second such `server-2`."""
    if all(container.name for container in containers):
        return containers
    return tuple(
        container
        if container.name
        else replace(container, name="server" if index == 0 else f"server-{index + 1}")
        for index, container in enumerate(containers)
    )


_PORT_NAME = Field("name", PORT_NAME, default=None, zero=True)
_PORT_FIELDS = (
    Field("containerPort", PORT, default=None),
    Field("protocol", PROTOCOL, zero=True),
    Field("hostPort", NODE_PORT),
    Field("hostIP", ADDRESS, zero=True),
)
#: what only the short form has, of a container and of its ports
_SHORT_PORT = Field("port", PORT, default=None)
_CONTAINER_PORT = Shape(_container_port, _PORT_NAME, _SHORT_PORT, *_PORT_FIELDS, of=ContainerPort)
_PORT_OF_MANIFEST = Shape(_container_port, _PORT_NAME, *_PORT_FIELDS, of=ContainerPort)
_CONTAINER_NAME = Field("name", LABEL_NAME, default=None)
_CONTAINER_FIELDS = (
    Field("command", ARGUMENTS),
    Field("args", ARGUMENTS, default=[]),
    Field("env", ListOf(ENV)),
    Field("envFrom", ListOf(ENV_FROM), default=[]),
    *LIFECYCLE_FIELDS,
)
_CONTAINER = Shape(
    _container,
    _CONTAINER_NAME,
    _SHORT_PORT,
    Field("ports", ListOf(_CONTAINER_PORT)),
    *_CONTAINER_FIELDS,
    of=Container,
    doc="A container: a built-in server on its ports, or the process that `command` and `args` "
    "are. `port: 8080` is short for `ports: [{containerPort: 8080}]`.",
)
#: in a manifest, with what stands beside them in one
_CONTAINER_OF_MANIFEST = Shape(
    _without_image,
    Field("image", Text(), default=None),
    _CONTAINER_NAME,
    Field("ports", ListOf(_PORT_OF_MANIFEST)),
    *_CONTAINER_FIELDS,
    of=Container,
)


def _init_containers(*ports: Field) -> Shape[Container | None]:
    return Shape(
        _init_container,
        Field("image", Text(), default=None),
        Field("restartPolicy", Text(), default=None),
        _CONTAINER_NAME,
        *ports,
        *_CONTAINER_FIELDS,
        of=Container,
        title="InitContainer",
        doc="With `restartPolicy: Always` a sidecar, which runs beside the containers.",
    )


_INIT_CONTAINER = _init_containers(_SHORT_PORT, Field("ports", ListOf(_CONTAINER_PORT)))
_INIT_CONTAINER_OF_MANIFEST = _init_containers(Field("ports", ListOf(_PORT_OF_MANIFEST)))
_READINESS_GATE = Shape(
    lambda condition_type: condition_type,
    Field("conditionType", QUALIFIED_NAME, required=True),
    title="PodReadinessGate",
    doc="A condition of the pod that somebody else sets, without which it is not ready.",
)
_HOST_ALIAS = Shape(
    HostAlias, Field("ip", ADDRESS, required=True), Field("hostnames", ListOf(SUBDOMAIN))
)
_DNS_OPTION = Shape(
    DNSOption, Field("name", FILLED_WORD, required=True), Field("value", WORD, default=None)
)
_DNS_CONFIG = Shape(
    DNSConfig,
    Field("nameservers", ADDRESSES),
    Field("searches", TEXTS),
    Field("options", ListOf(_DNS_OPTION)),
)


def _fields(
    container: Shape[Container], init_container: Shape[Container | None], *more: Field
) -> tuple[Field, ...]:
    return (
        *NAMED,
        ANNOTATIONS_FIELD,
        Field("node", Text(), default=None),
        *more,
        Field("containers", ListOf(container), default=[]),
        Field("initContainers", ListOf(init_container), default=[]),
        Field("hostname", LABEL_NAME, zero=True),
        Field("subdomain", LABEL_NAME, zero=True),
        Field("ready", FLAG),
        Field("serving", FLAG, default=None),
        Field("terminating", FLAG),
        Field("dnsPolicy", Choice(DNSPolicy), zero=True),
        Field("dnsConfig", _DNS_CONFIG),
        Field("enableServiceLinks", FLAG),
        Field("hostNetwork", FLAG),
        Field("hostAliases", ListOf(_HOST_ALIAS)),
        Field("nodeSelector", LABELS),
        Field("affinity", AFFINITY, "node_affinity", default={}),
        Field("tolerations", ListOf(TOLERATION)),
        Field("serviceAccountName", ANY_TEXT, "service_account", zero=True),
        Field("automountServiceAccountToken", FLAG, default=None),
        Field("restartPolicy", Choice(RestartPolicy), zero=True),
        Field("terminationGracePeriodSeconds", SECONDS),
        Field("readinessGates", ListOf(_READINESS_GATE)),
    )


def pod_fields(*more: Field) -> tuple[Field, ...]:
    """The fields of a pod in the Lab document."""
    return _fields(_CONTAINER, _INIT_CONTAINER, *more)


def manifest_fields(*more: Field) -> tuple[Field, ...]:
    """The same in a manifest; what only the short form has stands nowhere in it."""
    short = {"ready", "serving", "terminating"}
    own = _fields(_CONTAINER_OF_MANIFEST, _INIT_CONTAINER_OF_MANIFEST, *more)
    return tuple(field for field in own if field.name not in short)


def template_paths(template: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Where an object keeps the fields of its pods, whose template stands at `template`."""
    spec = (
        "containers",
        "hostname",
        "subdomain",
        "dnsPolicy",
        "dnsConfig",
        "enableServiceLinks",
        "hostNetwork",
        "hostAliases",
        "initContainers",
        "nodeSelector",
        "affinity",
        "tolerations",
        "serviceAccountName",
        "automountServiceAccountToken",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "readinessGates",
    )
    paths: dict[str, tuple[str, ...]] = {name: (*template, "spec", name) for name in spec}
    paths["node"] = (*template, "spec", "nodeName")
    for name, path in METADATA_PATHS.items():
        paths[name] = path if name in {"name", "namespace"} else (*template, *path)
    return paths
