"""Carries a scenario out on the running lab: each step is a file that `up` converges it to.

When the traffic has ended, the lab is brought back to its own file.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kns.cluster.model import Cluster
from kns.engine.labs import RunningLab, read_options
from kns.engine.up import up
from kns.errors import UsageError
from kns.experiment.churn.edits import edited
from kns.experiment.churn.run import Change, Mark, goals
from kns.experiment.churn.scenarios import ChurnScenario, LabStep, Manner, PodOnNode, steps
from kns.kinds.load import load_lab_text
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.probe.target import parse_source
from kns.promise.location import Location

#: seconds between the end of a step and the next one
PAUSE = 1.0


@contextlib.contextmanager
def scenario_change(
    lab: RunningLab,
    ends: tuple[str, str],
    scenario: ChurnScenario,
    style: Manner = Manner.GRACEFUL,
    *,
    cleans_up: bool = True,
) -> Iterator[Change]:
    """The change that a scenario makes to the service at the second of `ends`.

    `cleans_up`: kube-proxy deletes the UDP entries of conntrack whose endpoints go. UsageError if
    the service is none, or the scenario can't happen to its pods.
    """
    start = parse_source(lab.cluster, ends[0], "churn")
    tcp, udp = goals(lab.cluster, start, ends[1], "")
    goal = tcp or udp
    if goal is None or goal.service is None:
        raise UsageError(
            f"{ends[1]!r} is no service: scenarios happen to a service's pods",
            hint="kns get services lists them; --while 'CMD' measures any change",
        )
    pods = _pods(lab.cluster, goal.service, start, scenario)
    original = lab.paths.spec.read_text(encoding="utf-8")
    bound = {pod.full_name: pod.node for pod in lab.cluster.pods}
    before = edited(load_lab_text(original), bound)
    if not cleans_up:
        before = before.without_conntrack_cleanup()
    with tempfile.TemporaryDirectory(prefix="kns-churn-") as folder:
        file = Path(folder) / f"{lab.name}.yaml"

        def make(mark: Mark) -> str:
            for step in steps(scenario, before, pods, style):
                _carry_out(lab, file, step, mark)
            mark(f"{scenario}: done", is_end=True)
            return ""

        try:
            yield make
        finally:
            file.write_text(original, encoding="utf-8")
            _up(lab, file)


def _carry_out(lab: RunningLab, file: Path, step: LabStep, mark: Mark) -> None:
    file.write_text(step.lab.text, encoding="utf-8")
    mark(step.text)
    _up(lab, file)
    time.sleep(PAUSE)


def _up(lab: RunningLab, file: Path) -> None:
    options = read_options(lab.paths)
    up(file, proxy_mode=options.proxy_mode, release=options.release)


def _pods(
    cluster: Cluster, service: Service, start: Location, scenario: ChurnScenario
) -> tuple[PodOnNode, ...]:
    """The pods behind the service; a node that is to fail has the first, and not the source."""
    names = {
        endpoint.pod
        for item in cluster.slices_of(service)
        for endpoint in item.endpoints
        if endpoint.ready is not False
    }
    found = [PodOnNode(p.full_name, p.node) for p in cluster.pods if p.full_name in names]
    if not found:
        raise UsageError(
            f"no pod behind {service.full_name} is ready",
            hint="a scenario needs one to which it can happen",
        )
    if scenario is not ChurnScenario.NODE_FAIL:
        return tuple(found)
    own = start.item.node if isinstance(start.item, Pod) else start.label
    elsewhere = [pod for pod in found if pod.node != own]
    if not elsewhere:
        raise UsageError(
            f"all pods behind {service.full_name} are on {own}, where the traffic comes from",
            hint="send it from a pod of another node",
        )
    return (*elsewhere, *(pod for pod in found if pod.node == own))
