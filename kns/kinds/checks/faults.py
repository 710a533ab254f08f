"""Checks of `faults`: ends that are there, and that have a link of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from kns.errors import Problem
from kns.kinds.faults import FaultEnd, FaultEndKind, NetemFault, Partition
from kns.kinds.placement import expand_pods
from kns.kinds.pod import Pod
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.wording import did_you_mean, shown


def check_faults(sources: Sources) -> Iterator[Problem]:
    """Ends that are not there, or that have no link."""
    faults = sources.lab.faults
    known = _Known(sources)
    for index, item in enumerate(faults.links_down):
        yield from known.problems(item, ("faults", "linksDown", index))
    for index, fault in enumerate(faults.netem):
        yield from known.netem_problems(fault, ("faults", "netem", index))
    for index, partition in enumerate(faults.partitions):
        yield from known.partition_problems(partition, ("faults", "partitions", index))
    for index, item in enumerate(faults.unready):
        yield from known.pod_problems(item, ("faults", "unready", index))


@dataclass(frozen=True)
class _Known:
    """What a lab's faults may name."""

    sources: Sources

    @cached_property
    def pods(self) -> Mapping[tuple[str, str], Pod]:
        """Its pods by namespace and name, the cluster's own included."""
        pods = (item.pod for item in expand_pods(self.sources.lab))
        return {(pod.namespace, pod.name): pod for pod in pods}

    def problems(self, item: FaultEnd, path: Path) -> Iterator[Problem]:
        """What is wrong with an end."""
        problem = self.sources.place.problem
        pod = self._pod(item)
        if pod is None and not self._is_node(item):
            message = (
                f"Not found: {shown(str(item))}: there is no such {item.kind or 'pod or node'}"
            )
            yield problem(path, message, self._nearest(item, *sorted(self.sources.node_names)))
        elif pod is not None and pod.host_network:
            message = f"Invalid value: {shown(str(item))}: it is in its node's network"
            yield problem(path, message, "its link is its node's: name the node")

    def netem_problems(self, fault: NetemFault, path: Path) -> Iterator[Problem]:
        """What is wrong with the ends of an impaired way."""
        outside = 0
        for field, item in (("from", fault.source), ("to", fault.target)):
            if item is None:
                continue
            outside += self._is_host(item)
            yield from self._end_problems(item, (*path, field))
        ends = [self._meant(item) for item in (fault.source, fault.target) if item is not None]
        if fault.source is not None and ends.count(ends[0]) == 2:
            message = f"Invalid value: {shown(str(fault.source))}: both ends are the same"
            yield self.sources.place.problem((*path, "to"), message, "leave one of them out")
        elif outside == 2:
            message = "Invalid value: both ends are outside the cluster"
            yield self.sources.place.problem(path, message, "name a pod or node as one of them")

    def partition_problems(self, partition: Partition, path: Path) -> Iterator[Problem]:
        """What is wrong with the ends of a partition's sides."""
        problem = self.sources.place.problem
        for field, side in (("between", partition.one), ("and", partition.other)):
            for index, item in enumerate(side):
                yield from self._end_problems(item, (*path, field, index))
        others = {self._meant(item) for item in partition.one}
        for index, item in enumerate(partition.other):
            if self._meant(item) in others:
                message = f"Invalid value: {shown(str(item))}: it is on both sides"
                yield problem((*path, "and", index), message, "name it on one side")
        if all(map(self._is_host, (*partition.one, *partition.other))):
            message = "Invalid value: both sides are outside the cluster"
            yield problem(path, message, "name a pod or node on one of them")

    def _meant(self, item: FaultEnd) -> FaultEnd:
        """The end with the kind of what bears its name."""
        kinds = {
            FaultEndKind.POD: self._pod(item) is not None,
            FaultEndKind.NODE: self._is_node(item),
            FaultEndKind.INTERNET: self._is_host(item),
            FaultEndKind.SERVICE: self._is_service(item),
        }
        return replace(item, kind=next((kind for kind, named in kinds.items() if named), item.kind))

    def _end_problems(self, item: FaultEnd, path: Path) -> Iterator[Problem]:
        if not self._is_service(item) and not self._is_host(item):
            yield from self.problems(item, path)

    def _is_service(self, item: FaultEnd) -> bool:
        wanted = (item.namespace, item.name)
        services = self.sources.lab.services
        named = any((service.namespace, service.name) == wanted for service in services)
        is_other = self._pod(item) is not None or self._is_node(item)
        return item.kind in (FaultEndKind.SERVICE, None) and named and not is_other

    def _is_host(self, item: FaultEnd) -> bool:
        hosts = self.sources.lab.internet
        known = {"internet"} if hosts is None else {host.name for host in hosts}
        if known:
            known.add("internet")
        return item.kind in (FaultEndKind.INTERNET, None) and item.name in known

    def pod_problems(self, item: FaultEnd, path: Path) -> Iterator[Problem]:
        """What is wrong with an end that must be a pod."""
        if self._pod(item) is None:
            message = f"Not found: {shown(str(item))}: there is no such pod"
            yield self.sources.place.problem(path, message, self._nearest(item))

    def _pod(self, item: FaultEnd) -> Pod | None:
        wanted = item.kind in (FaultEndKind.POD, None)
        return self.pods.get((item.namespace, item.name)) if wanted else None

    def _is_node(self, item: FaultEnd) -> bool:
        return item.kind in (FaultEndKind.NODE, None) and item.name in self.sources.node_names

    def _nearest(self, item: FaultEnd, *others: str) -> str:
        pods = (str(FaultEnd(name, namespace=namespace)) for namespace, name in self.pods)
        names = (*pods, *others)
        elsewhere = (name for name in names if name.endswith(f"/{item.name}"))
        near = next(elsewhere, "")
        return f'did you mean "{near}"?' if near else did_you_mean(str(item), names)
