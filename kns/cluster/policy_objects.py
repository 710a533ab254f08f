"""What network policies are decided by: pods, namespaces and policies, of any source.

A lab file gives them resolved; `kubectl get pods,namespaces,networkpolicies -A -o yaml` prints them
with the addresses that the pods have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TypeVar

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.errors import Problem, SpecError
from kns.kinds import namespace, networkpolicy, workload
from kns.kinds.checks.networkpolicies import check_policy
from kns.kinds.namespace import Namespace, with_name_label
from kns.kinds.networkpolicy import NetworkPolicy
from kns.kinds.pod import Pod
from kns.kinds.workload import ENDED, WorkloadKind
from kns.labfile.document import Document
from kns.labfile.objects import ObjectPlace, objects_in, parse_object_stream
from kns.labfile.place import Place
from kns.labfile.reader import DocumentKind, Reading
from kns.labfile.shape import Form
from kns.labfile.wording import RefusedError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PolicyObjects:
    """Pods, the namespaces that they are in, network policies, and who else has an address."""

    pods: tuple[Pod, ...]
    namespaces: tuple[Namespace, ...]
    policies: tuple[NetworkPolicy, ...]
    #: the addresses of nodes by name: as far as pods tell whose they are, where no lab says it
    nodes: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    #: those of hosts outside
    internet: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)


def of_cluster(cluster: Cluster) -> PolicyObjects:
    """Those of a resolved cluster."""
    return PolicyObjects(
        cluster.pods,
        cluster.namespaces,
        cluster.network_policies,
        {node.name: (*node.addresses, *node.host_addresses) for node in cluster.nodes},
        {host.name: host.addresses for host in cluster.internet},
    )


def load_policy_objects(files: Iterable[tuple[str, str | bytes]]) -> PolicyObjects:
    """The objects in `files`, pairs of a name and the content. SpecError with every problem.

    An object that comes twice counts as it comes last; other kinds are passed over.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    for file, content in files:
        stream = parse_object_stream(content, file)
        documents += stream.documents
        problems += stream.problems
    found = _Found()
    for item in _objects(documents, problems):
        found.add(item, problems)
    if problems:
        raise SpecError(tuple(sorted(problems)))
    return found.objects


@dataclass(slots=True)
class _Found:
    """The objects of some documents by name."""

    pods: dict[str, Pod] = field(default_factory=dict)
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    policies: dict[str, NetworkPolicy] = field(default_factory=dict)
    nodes: dict[str, tuple[IPAddress, ...]] = field(default_factory=dict)

    def add(self, item: ObjectPlace, problems: list[Problem]) -> None:
        """The object, if it is of one of these kinds."""
        match item.kind:
            case "Pod":
                form = workload.form(WorkloadKind.POD)
                for made in _read(item, form, problems, kind=WorkloadKind.POD):
                    if Place(item.document, item.path).get("status", "phase") not in ENDED:
                        pod = replace(made.template, addresses=_addresses(item, "podIP"))
                        self.pods[pod.full_name] = pod
                        self.nodes.setdefault(pod.node, _addresses(item, "hostIP"))
            case "Namespace":
                for space in _read(item, namespace.FORM, problems):
                    self.namespaces[space.name] = space
            case "NetworkPolicy":
                for policy in _read(item, networkpolicy.FORM, problems):
                    place = Place(item.document, item.path, networkpolicy.FORM.paths)
                    problems += check_policy(policy, place)
                    self.policies[policy.full_name] = networkpolicy.located(policy, place)
            case _:
                pass

    @property
    def objects(self) -> PolicyObjects:
        """All of them, with every namespace that is used."""
        used = dict.fromkeys((*self.namespaces, *(pod.namespace for pod in self.pods.values())))
        named = (with_name_label(self.namespaces.get(name, Namespace(name))) for name in used)
        pods, policies = tuple(self.pods.values()), tuple(self.policies.values())
        return PolicyObjects(pods, tuple(named), policies, self.nodes)


def _objects(documents: Iterable[Document], problems: list[Problem]) -> list[ObjectPlace]:
    found: list[ObjectPlace] = []
    for document in documents:
        objects, wrong = objects_in(document)
        problems += wrong
        found += objects
    return found


def _read(item: ObjectPlace, form: Form[T], problems: list[Problem], **more: object) -> list[T]:
    reading = Reading(DocumentKind.SERVER)
    made: list[T] = []
    try:
        made.append(form.read(item.data, reading, **more))
    except RefusedError as refused:
        reading.note(refused)
    problems += Place(item.document, item.path).problems(reading.faults)
    return made


def _addresses(item: ObjectPlace, name: str) -> tuple[IPAddress, ...]:
    """The addresses in a pod's status: `podIPs` or the one `podIP`; of one that has none, none."""
    place = Place(item.document, item.path)
    listed = place.get("status", f"{name}s")
    texts = (
        [entry.get("ip") for entry in listed if isinstance(entry, dict)]
        if isinstance(listed, list)
        else [place.get("status", name)]
    )
    return tuple(address for text in texts if (address := _address(text)) is not None)


def _address(text: object) -> IPAddress | None:
    try:
        return ip_address(text) if isinstance(text, str) else None
    except ValueError:
        return None
