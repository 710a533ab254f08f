"""What can happen to the soak's lab: random command lines, each of which fits the moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from kns.cli.registry import VERBS
from kns.cluster.model import Cluster
from kns.kinds.faults import FaultEndKind
from kns.kinds.pod import Pod
from tests.vm import features

#: a command line of kns, without `kns`; the first word AGENT: the agent is killed by SIGKILL
Line = tuple[str, ...]
AGENT = "SIGKILL"
#: commands that would wait until all that follows is so: the soak does that itself
NO_WAIT = ("--timeout", "0")
#: pods are named so by kns; the rest is the file's
HOME = "up"
SERVICES = ("svc/web", "svc/db", "svc/job")
IMPAIRMENTS = (("--rate", "50mbit"), ("--delay", "2ms"))

_EXTRAS = {
    "ns": "{apiVersion: v1, kind: Namespace, metadata: {name: extra}}",
    "pod": """\
apiVersion: v1
kind: Pod
metadata: {name: extra, labels: {app: extra}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, command: [sleep, '1000000']}, {name: web, ports: [{containerPort: 8080}]}]
""",
    "service": """\
apiVersion: v1
kind: Service
metadata: {name: extra}
spec: {type: NodePort, selector: {app: PICK}, ports: [{port: 81, targetPort: 8080}]}
""",
    "networkpolicy": """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: extra}
spec:
  podSelector: {matchLabels: {app: PICK}}
  ingress: [{from: [{podSelector: {matchLabels: {app: PICK}}}], ports: [{port: 8080}]}]
""",
    "configmap": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
data: {colour: PICK}
""",
    "deployment": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: extra}
spec:
  replicas: COUNT
  selector: {matchLabels: {app: extra}}
  template:
    metadata: {labels: {app: extra, colour: PICK}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, ports: [{containerPort: 8080}]}]
""",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What an operation may look at before it is chosen."""

    cluster: Cluster
    #: the file of the lab, and a folder for others
    file: Path
    folder: Path
    cordoned: frozenset[str]
    #: kind/name of objects that were applied and are in no file
    extras: frozenset[str]
    #: pods that have crashed so often that the next time they wait for minutes
    crashed: frozenset[str]

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods that may die: kns' own are no one's to name."""
        return tuple(pod for pod in self.cluster.pods if pod.namespace == "default")

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.cluster.nodes)

    @property
    def ends(self) -> tuple[str, ...]:
        """What a fault on the way of packets can be about."""
        nodes = (f"node/{name}" for name in self.nodes)
        return (*nodes, *(f"pod/{pod.name}" for pod in self.pods))

    def faulty(self, *, links: bool) -> tuple[str, ...]:
        """The nodes and pods whose link is down, or else the pods that were made not ready."""
        written = self.cluster.faults.written
        known = {*(pod.name for pod in self.pods), *self.nodes}
        ends = written.links_down if links else written.unready
        return tuple(
            f"{'node' if end.name in self.nodes else 'pod'}/{end.name}"
            for end in ends
            if end.name in known and end.kind in {None, FaultEndKind.POD, FaultEndKind.NODE}
        )


Operation = Callable[[Random, Moment], Line | None]


def scale(choice: Random, _moment: Moment) -> Line:
    name = choice.choice(("web", "web", "db"))
    return ("scale", f"{name}={choice.randint(0, 5 if name == 'web' else 3)}", *NO_WAIT)


def kill(choice: Random, moment: Moment) -> Line | None:
    pods = [pod.name for pod in moment.pods if pod.name not in moment.crashed]
    signal = choice.choice(("KILL", "KILL", "TERM"))
    return ("kill", f"pod/{choice.choice(pods)}", "--signal", signal) if pods else None


def delete_pod(choice: Random, moment: Moment) -> Line | None:
    """Of those that come back; others only while there are enough of them."""
    pods = [pod.name for pod in moment.pods if pod.name not in {"client", "job"}]
    grace = choice.choice(((), ("--grace-period", "0")))
    return ("delete", "pod", choice.choice(pods), *grace, *NO_WAIT) if pods else None


def delete_bare_pod(choice: Random, moment: Moment) -> Line | None:
    pods = [pod.name for pod in moment.pods if pod.name in {"job"}]
    return ("delete", "pod", choice.choice(pods), "--grace-period", "0", *NO_WAIT) if pods else None


def fail(choice: Random, moment: Moment) -> Line | None:
    """One link at a time: with all of them down there would be nothing to see."""
    if moment.faulty(links=True):
        return None
    ends = [f"pod/{pod.name}" for pod in moment.pods] + [f"node/{n}" for n in moment.nodes] * 2
    return ("fail", choice.choice(ends))


def restore(choice: Random, moment: Moment) -> Line | None:
    found = moment.faulty(links=True)
    return ("restore", choice.choice((*found, "--all"))) if found else None


def unready(choice: Random, moment: Moment) -> Line | None:
    found = moment.faulty(links=False)
    if found:
        return ("unready", choice.choice(found), "--undo")
    return ("unready", f"pod/{choice.choice(moment.pods).name}") if moment.pods else None


def cordon(choice: Random, moment: Moment) -> Line | None:
    """Never the last node."""
    free = [name for name in moment.nodes if name not in moment.cordoned]
    if len(free) < 2:
        return None
    if choice.random() < 0.5:
        return ("cordon", choice.choice(free))
    return ("drain", choice.choice(free), "--ignore-daemonsets", "--force", *NO_WAIT)


def uncordon(choice: Random, moment: Moment) -> Line | None:
    return ("uncordon", choice.choice(sorted(moment.cordoned))) if moment.cordoned else None


def apply(choice: Random, moment: Moment) -> Line:
    kind = choice.choice(tuple(_EXTRAS))
    content = _EXTRAS[kind].replace("PICK", choice.choice(("web", "db", "job", "extra")))
    file = moment.folder / f"{kind}.yaml"
    file.write_text(content.replace("COUNT", str(choice.randint(0, 3))), encoding="utf-8")
    return ("apply", str(file), *NO_WAIT)


def delete_applied(choice: Random, moment: Moment) -> Line | None:
    if not moment.extras:
        return None
    return ("delete", choice.choice(sorted(moment.extras)), *NO_WAIT)


def roll(choice: Random, _moment: Moment) -> Line:
    which = choice.choice(("deployment/web", "statefulset/db", "daemonset/monitor"))
    return ("rollout", "restart", which, *NO_WAIT)


def impair(choice: Random, moment: Moment) -> Line | None:
    """A rate by tbf, which every kernel has, or a delay; what loses packets can promise nothing."""
    if moment.cluster.faults.written.netem:
        return ("netem", "clear")
    how = [("--rate", "50mbit")] if features.missing("netem") else [*IMPAIRMENTS]
    return ("netem", "set", *choice.sample(moment.ends, 2), *choice.choice(how))


def partition(choice: Random, moment: Moment) -> Line | None:
    """One at a time, between two ends of any kind; either side may be named first to heal it."""
    found = moment.cluster.faults.written.partitions
    if not found:
        return ("partition", *choice.sample((*moment.ends, *SERVICES), 2))
    sides = [str(side[0]) for side in (found[0].one, found[0].other)]
    there = all(side in {*moment.ends, *SERVICES} for side in sides)
    which = choice.choice((sides, sides[::-1], [])) if there else []
    return ("partition", *which, "--heal")


def home(_choice: Random, moment: Moment) -> Line:
    return (HOME, str(moment.file))


def kill_agent(_choice: Random, _moment: Moment) -> Line:
    return (AGENT, "the agent")


#: how often each is chosen, beside the others
WEIGHTS: dict[Operation, int] = {
    scale: 8,
    kill: 5,
    delete_pod: 6,
    delete_bare_pod: 1,
    fail: 4,
    restore: 8,
    unready: 5,
    cordon: 4,
    uncordon: 5,
    apply: 8,
    delete_applied: 5,
    roll: 5,
    impair: 4,
    partition: 6,
    home: 2,
    kill_agent: 2,
}


def operations(seed: int, look: Callable[[], Moment], first: int = 1) -> Iterator[tuple[int, Line]]:
    """Numbers and command lines without end; `look` is called before each.

    What is chosen depends on the seed, the number and the moment alone: a run may begin anywhere.
    """
    known: Sequence[Operation] = tuple(WEIGHTS)
    weights = [WEIGHTS[each] for each in known]
    for number in count(first):
        choice, moment = Random(f"{seed} {number}"), look()
        line = None
        while line is None:
            line = choice.choices(known, weights)[0](choice, moment)
        assert line[0] in VERBS or line[0] == AGENT
        yield number, line
