"""A soak from a seed: random operations on a lab, and after each the proof that all is well.

    python -m tests.soak.soak [--operations 1000] [--seed N] [--first N] [--sample N]

After each operation, once everything that follows from it is so: the kernel is as the cluster says
(0 drift), all promises are kept, no netns and no process is there that the cluster does not
explain. Whenever the lab is as its file says, what it has on the machine is counted, and compared
with the first time, and all is proved once more as `kns verify` does it: with its programs, and
with all of the checks that count who answers for a Service, of which each time else three in ten
are drawn.
A failure prints the operations that led to it; `--first` begins with the operation of that number.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random, SystemRandom
from unittest.mock import patch

from kns.cli.main import main as kns
from kns.cluster.model import Cluster
from kns.compile.paths import LabPaths
from kns.engine import agent
from kns.engine.api_client import APIClient, connect
from kns.engine.down import down
from kns.engine.labs import agent_pid, running
from kns.engine.orders import AgentStatus, GetStatus
from kns.engine.status import status
from kns.kinds.objects import Ref, flag, mappings, name_of, number
from kns.kinds.resources import NODE, POD, by_word
from kns.probe import verify as verifying
from kns.probe.ask.places import places_of
from kns.probe.verify import CheckResult, verify
from kns.promise.check import Check, CheckSet
from kns.promise.checks import cluster_checks
from kns.promise.flow import Outcome
from tests.end_to_end.labfiles import leftovers, still_broken
from tests.soak import direct
from tests.soak.census import Census, memory_of, strange_netns, strange_processes, take
from tests.soak.operations import AGENT, HOME, Line, Moment, operations

FILE = Path(__file__).with_name("lab.yaml")
LAB = "soak"
#: what `apply` may have brought, by kind
EXTRAS = ("pod", "service", "networkpolicy", "configmap", "deployment", "namespace")
#: seconds for all that follows from an operation; a busy machine takes a minute for what is seconds
PATIENCE = 240.0
#: seconds in which nothing more becomes ready while a fault keeps it from that; and if nothing is
#: on its way but what was so before the operation
STANDSTILL, AS_BEFORE = 2.0, 0.5
#: more connections than that count who answers; what part of such checks is made each time
FEW, PART = 4, 0.3
#: checks at a time: where a link is down most of them wait for silence
WORKERS = 64
#: how often the network may change while it is being proved
TRIES = 8
#: megabytes over what the agent had when it began
MEMORY = 60.0


class SoakError(AssertionError):
    """The lab is not as it must be; the message says how."""


@dataclass
class Soak:
    """One run. `sample`: how many checks are made at most after each operation; 0: all."""

    seed: int
    folder: Path
    sample: int = 0
    #: the number of the first operation
    first_number: int = 1
    say: Callable[[str], None] = print
    lines: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    second_tries: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    #: what a fault has kept from becoming so after the operation before
    waiting: dict[Ref, str] = field(default_factory=dict)
    first: Census | None = None
    last: Census | None = None
    #: by the monotonic clock
    started: float = field(default_factory=time.monotonic)

    def run(self, count: int) -> None:
        """Do so many operations. SoakError with all that was done, if something is wrong."""
        self.say(f"soak: seed {self.seed}, {count} operations from number {self.first_number}")
        file = self.folder / f"{LAB}.yaml"
        file.write_bytes(FILE.read_bytes())
        try:
            self._do((HOME, str(file)))
            lines = operations(self.seed, self._look, self.first_number)
            for number, line in islice(lines, count):
                self._do(line, number)
            self._do((HOME, str(file)))
        except Exception as error:
            done = "\n  ".join(self.lines)
            told = "\n  ".join(_last_words())
            message = (
                f"{error}\nseed {self.seed}, after\n  {done}\nthe agent's last words:\n  {told}"
            )
            raise SoakError(message) from error
        finally:
            down(LAB)
        if left := leftovers(LAB):
            raise SoakError(f"down leaves {left}")

    # -- one operation -----------------------------------------------------------------------------

    def _look(self) -> Moment:
        cluster = running(LAB).cluster
        client = self._client()
        found = (
            f"{kind}/extra"
            for kind in EXTRAS
            if (known := by_word(kind))
            and client.find(known, "default" * known.namespaced, "extra")
        )
        cordoned = (n for n in client.list(NODE) if flag(n, "spec", "unschedulable"))
        return Moment(
            cluster,
            self.folder / f"{LAB}.yaml",
            self.folder,
            frozenset(map(name_of, cordoned)),
            frozenset(found),
            frozenset(_crashed(client)),
        )

    def _do(self, line: Line, number: int = 0) -> None:
        text = " ".join(("kns", *line) if line[0] != AGENT else line).replace(f"{self.folder}/", "")
        self.lines.append(text)
        self.counts[line[0]] += 1
        started = time.monotonic()
        if line[0] == AGENT:
            _kill_agent()
        else:
            self._kns(line)
        self._converge()
        settled = time.monotonic() - started
        self._prove()
        proved = time.monotonic() - started - settled
        self.memory.append(memory_of(_pid()))
        took = f"so in {settled:.1f} s, proved in {proved:.1f} s"
        self.say(f"{self.seed} {number:4} {text}  ({took}; agent {self.memory[-1]:.0f} MB)")
        if line[0] == HOME:
            self._prove(is_whole=True)
            self._count()

    def _kns(self, line: Line) -> None:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = kns(line)
        # what is not waited for is told with 1
        if code not in (0, 1):
            raise SoakError(f"exit code {code}: {said.getvalue()}")

    def _client(self) -> APIClient:
        return connect(running(LAB))

    def _converge(self) -> None:
        """Wait until nothing is on its way, or nothing moves any more: a fault is in the way."""
        client = self._client()
        deadline = time.monotonic() + PATIENCE
        still, since = None, time.monotonic()
        while True:
            client.settle()
            ended = _ended()
            found = {**client.pending(), **ended}
            if not found:
                self.waiting = {}
                return
            if found != still:
                still, since = dict(found), time.monotonic()
            elif (
                # no fault keeps a container from its next start
                not ended
                and time.monotonic() - since > self._standstill(found)
                and self._is_hindered()
            ):
                self.waiting = found
                return
            if time.monotonic() > deadline:
                raise SoakError(f"not so after {PATIENCE:g} s: {'; '.join(found.values())}")
            time.sleep(0.05)

    def _standstill(self, found: dict[Ref, str]) -> float:
        return AS_BEFORE if found == self.waiting else STANDSTILL

    def _is_hindered(self) -> bool:
        """Whether something was done on purpose that keeps pods from being ready, or from going."""
        moment = self._look()
        return bool(moment.cordoned or moment.faulty(links=True) or moment.faulty(links=False))

    # -- the proof ---------------------------------------------------------------------------------

    def _prove(self, *, is_whole: bool = False) -> None:
        for _ in range(TRIES):
            before = running(LAB).cluster
            # what the objects say already is carried out within a moment
            self._client().settle()
            wrong = self._wrong(before, is_whole=is_whole)
            if running(LAB).cluster == before:
                break
        else:
            raise SoakError(f"the network changed {TRIES} times while it was being proved")
        if wrong:
            raise SoakError("\n".join(wrong))

    def _wrong(self, cluster: Cluster, *, is_whole: bool) -> list[str]:
        found = status(LAB)
        wrong = [f"drift: {line}" for line in found.drift]
        wrong += [f"agent: {line}" for line in _ended().values()]
        wrong += [f"netns: {name}" for name in strange_netns(cluster)]
        wrong += [f"process: {line}" for line in strange_processes(cluster, _pid())]
        wrong += [
            f"check {c.id}: {c.expected}, but {c.actual} ({c.evidence})"
            for c in self._broken(cluster, is_whole=is_whole)
        ]
        return wrong

    def _broken(self, cluster: Cluster, *, is_whole: bool) -> tuple[CheckResult, ...]:
        """The promises that are broken; on a busy machine an answer may come late once."""
        known = cluster_checks(cluster)
        choice = Random(f"{self.seed} {len(self.lines)}")
        chosen = known.checks if is_whole else in_turn(known.checks, choice)
        if 0 < self.sample < len(chosen):
            prompt = [check for check in chosen if not _waits_for_silence(check)]
            chosen = tuple(choice.sample(prompt, min(self.sample, len(prompt))))
        places = places_of(LAB, LabPaths(LAB))
        sockets = contextlib.nullcontext() if is_whole else direct.own_sockets()
        with sockets, patch.object(verifying, "WORKERS", WORKERS):
            report = verify(cluster, places, checks=CheckSet(chosen, known.skips))
        self.checks += len(report.checks)
        failed = tuple(check for check in report.checks if not check.ok)
        if not failed or running(LAB).cluster != cluster:
            return failed
        for check in failed:
            self.second_tries.append(f"{len(self.lines)}: {check.id}: {check.actual}")
            when = f"{check.started:.2f} s after the proof began, for {check.seconds:.2f} s"
            self.say(f"      at first: {self.second_tries[-1]} instead of {check.expected}, {when}")
            self.say(f"        {check.evidence}")
        return still_broken(failed, cluster, places)

    def _count(self) -> None:
        found = take(LAB)
        if self.first is None:
            self.first = found
        elif grown := found.grown_since(self.first):
            raise SoakError(f"the lab is as its file says, but has more than at first: {grown}")
        if found.memory > self.first.memory + MEMORY:
            raise SoakError(
                f"the agent has {found.memory:.0f} MB, {self.first.memory:.0f} at first"
            )
        self.last = found
        self.say(f"      {found}")

    def figures(self) -> str:
        """What was done and found, for people."""
        verbs = ", ".join(f"{count} {verb}" for verb, count in self.counts.most_common())
        tries = "".join(f"\n  {line}" for line in self.second_tries)
        minutes = (time.monotonic() - self.started) / 60
        return (
            f"seed {self.seed}: {len(self.lines)} operations ({verbs})"
            f" in {minutes:.0f} min, {len(self.lines) / minutes:.1f} a minute;"
            f" {self.checks:,} checks: none failed, {len(self.second_tries)} only at first;"
            f" no drift, nothing left behind;"
            f" the agent had {min(self.memory):.0f} to {max(self.memory):.0f} MB"
            f"\n  at first: {self.first}\n  at last:  {self.last}{tries}"
        )


def _ended() -> dict[Ref, str]:
    """The containers that the agent is going to start again, as kubelet does, after a while."""
    answer = agent.order(LAB, GetStatus(), AgentStatus)
    assert isinstance(answer, AgentStatus), answer
    return {("", "", f.subject): f"{f.subject}: {f.message}" for f in answer.errors}


def in_turn(checks: Iterable[Check], choice: Random) -> tuple[Check, ...]:
    """The checks, but of those that count who answers a part: each connects dozens of times."""
    return tuple(c for c in checks if not _counts(c) or choice.random() < PART)


def _counts(check: Check) -> bool:
    return any(getattr(step.ask, "count", 1) > FEW for step in check.steps)


def _waits_for_silence(check: Check) -> bool:
    """Such a check takes a second at least."""
    return any(Outcome.TIMEOUT in step.expectation.outcomes for step in check.steps)


def _last_words() -> list[str]:
    """The end of the agent's log, without the probes that fail."""
    with contextlib.suppress(OSError):
        lines = LabPaths(LAB).log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "Unhealthy" not in line][-20:]
    return []


def _crashed(client: APIClient) -> Iterator[str]:
    """The pods whose next crash would have a long back-off."""
    for item in client.list(POD):
        statuses = mappings(item, "status", "containerStatuses")
        if any(number(status, "restartCount") > 1 for status in statuses):
            yield name_of(item)


def _pid() -> int:
    pid = agent_pid(LAB)
    if pid is None:
        raise SoakError("the lab has no agent")
    return pid


def _kill_agent() -> None:
    pid = _pid()
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # this process may have started it
        os.waitpid(pid, 0)
    while agent_pid(LAB) is not None:
        time.sleep(0.01)


def main() -> int:
    """The command line of a long run."""
    parser = argparse.ArgumentParser(description="random operations on a lab, proved one by one")
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000))
    parser.add_argument("--first", type=int, default=1, help="number of the first operation")
    parser.add_argument("--sample", type=int, default=0, help="checks after each at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kns-soak-") as folder:
        soak = Soak(options.seed, Path(folder), options.sample, options.first)
        try:
            soak.run(options.operations)
        except SoakError as error:
            print(f"soak: FAILED: {error}", flush=True)
            return 1
        print(soak.figures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
