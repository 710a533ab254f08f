"""Run the tests that the running kernel can't, on one of Debian's own kernels beside it.

    python -m tests.vm.rig test [PYTEST-ARGS…]   the tests marked ipvs, netem, dummy, sctp; --slow:
                                                 also every lab in IPVS mode
    python -m tests.vm.rig run -- COMMAND…       any command, as root in the VM; --uml: in that one
    python -m tests.vm.rig shell                 a shell in the VM
    python -m tests.vm.rig check                 what of this is possible here

    running kernel has the features ──▶ pytest right here
    it has not, KVM works           ──▶ virtme-ng + QEMU
    neither                         ──▶ user-mode Linux, and beside it QEMU's software emulation
                                        for the tests marked nftables, which that kernel lacks
                the guests see this machine's files read-only: same project, same .venv

The kernels' packages come from apt and are unpacked below ${XDG_CACHE_HOME:-~/.cache}/kns/vm;
nothing is installed. Exit code: the command's own, 3 if no way is possible, 124 after the timeout.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kns.kernel.processes import raise_file_limit
from tests.vm import features, qemu, uml
from tests.vm.machine import PROJECT, Machine, RigError, booted, environment

EXIT_IMPOSSIBLE = 3
#: the default bound of `test`; software emulation is about twenty times slower than the machine
TEST_TIMEOUT = 2400
#: how much longer the slow tests may take together
SLOWER = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # QEMU inherits it: each file that is open in the guest is one of QEMU's, and the libraries of a
    # few dozen programs are more than the usual soft limit: exec fails with EMFILE in there
    raise_file_limit()
    command_line = parser()
    options, rest = command_line.parse_known_args(arguments)
    if rest and options.verb != "test":
        command_line.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        match options.verb:
            case "test":
                markers = f"({features.EXPRESSION})" + ("" if options.slow else " and not slow")
                timeout = options.timeout * (SLOWER if options.slow else 1)
                return test(Choice(markers, tuple(rest)), options.junit, timeout)
            case "run":
                return run_command(options.command, options.timeout, in_uml=options.uml)
            case "shell":
                return shell()
            case _:
                return check()
    except RigError as error:
        print(f"rig: {error}", file=sys.stderr)
        return EXIT_IMPOSSIBLE


def parser() -> argparse.ArgumentParser:
    """The command line's definition."""
    result = argparse.ArgumentParser(prog="python -m tests.vm.rig")
    verbs = result.add_subparsers(dest="verb", required=True)
    test_verb = verbs.add_parser("test", help="pytest, here or in the VM, with its own arguments")
    test_verb.add_argument("--junit", type=Path, default=PROJECT / "build/junit-vm.xml")
    test_verb.add_argument("--timeout", type=float, default=TEST_TIMEOUT)
    test_verb.add_argument("--slow", action="store_true")
    run_verb = verbs.add_parser("run", help="a command in the VM")
    run_verb.add_argument("--timeout", type=float, default=TEST_TIMEOUT)
    run_verb.add_argument("--uml", action="store_true", help="in user-mode Linux: no nftables")
    run_verb.add_argument("command", nargs="+")
    verbs.add_parser("shell", help="a shell in the VM")
    verbs.add_parser("check", help="what is possible here")
    return result


# -- the verbs -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tests: pytest's marker expression, and its other arguments."""

    markers: str
    arguments: tuple[str, ...]

    def command(self) -> list[str]:
        return [sys.executable, "-m", "pytest", *self.arguments, "-m", self.markers]

    def only(self, condition: str) -> Choice | None:
        """Those for which that holds, too; None if there are none."""
        return Choice(f"{self.markers} and {condition}", self.arguments).by_files()

    def by_files(self) -> Choice | None:
        """The same tests, the files that hold them named; None if there are none.

        Importing all other files in an emulated machine would take minutes.
        """
        files = files_with_tests(self)
        return Choice(self.markers, (*options_of(self.arguments), *files)) if files else None


def test(choice: Choice, junit: Path, timeout: float) -> int:
    """Run the marked tests, natively if the running kernel has every feature."""
    junit = junit.resolve()
    junit.parent.mkdir(parents=True, exist_ok=True)
    lacking = [why for name in features.PROBES if (why := features.missing(name))]
    if not lacking:
        print("rig: the running kernel has every feature: no VM needed", flush=True)
        argv = [*choice.command(), f"--junitxml={junit}"]
        return subprocess.run(argv, cwd=PROJECT, timeout=timeout, check=False).returncode
    for why in lacking:
        print(f"rig: {why}", flush=True)
    found = choice.by_files()
    if found is None:
        raise RigError("no test carries one of the markers " + ", ".join(features.PROBES))
    package = None if qemu.kvm_works() else uml.usable()
    with contextlib.ExitStack() as stack:
        machines = [
            stack.enter_context(tested(part, junit, package if in_uml else None, timeout))
            for part, in_uml in shares(found, apart=package is not None)
        ]
        codes = [machine.wait() for machine in machines]
    return next(filter(None, codes), 0)


def shares(choice: Choice, *, apart: bool) -> Iterator[tuple[Choice, bool]]:
    """Which tests run in which machine: the choice, and whether that is user-mode Linux."""
    if not apart:
        yield choice, False
        return
    for condition, in_uml in ((f"not {uml.BEYOND}", True), (uml.BEYOND, False)):
        part = choice.only(condition)
        if part is not None:
            yield part, in_uml


@contextlib.contextmanager
def tested(choice: Choice, junit: Path, package: Path | None, timeout: float) -> Iterator[Machine]:
    """A machine that runs these tests; their results are in the JUnit file afterwards."""
    command = [*choice.command(), "-p", "no:cacheprovider", "--junitxml=/run/out/junit.xml"]
    result = junit if package is None else junit.with_stem(f"{junit.stem}-uml")
    with (
        tempfile.TemporaryDirectory(prefix="kns-vm-") as folder,
        in_vm(command, Path(folder), timeout, package) as machine,
    ):
        yield machine
        written = Path(folder) / "junit.xml"
        if written.exists():
            shutil.copyfile(written, result)


def files_with_tests(choice: Choice) -> list[str]:
    """The files that hold tests of this choice."""
    done = subprocess.run(
        [*choice.command(), "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 5}:
        raise RigError(f"the tests can't be collected:\n{done.stdout}{done.stderr}")
    # `FILE::TEST`, or `FILE: COUNT` where the arguments hold a second -q
    return sorted(set(re.findall(r"^(\S+\.py)(?:::|: \d+$)", done.stdout, re.MULTILINE)))


def options_of(pytest_args: Sequence[str]) -> list[str]:
    """The arguments without the paths, which the collection has resolved into files."""
    return [arg for arg in pytest_args if not (PROJECT / arg.partition("::")[0]).exists()]


def run_command(command: Sequence[str], timeout: float, *, in_uml: bool = False) -> int:
    """Any command in the VM."""
    package = uml.package() if in_uml else None
    with (
        tempfile.TemporaryDirectory(prefix="kns-vm-") as folder,
        in_vm(command, Path(folder), timeout, package) as machine,
    ):
        return machine.wait()


def shell() -> int:
    """A shell in the VM on this terminal."""
    kernel = qemu.ensure_kernel()
    with tempfile.TemporaryDirectory(prefix="kns-vm-") as folder:
        argv = [
            *qemu.vng_command(kernel, Path(folder), kvm=qemu.kvm_works()),
            *("--shell", str(qemu.GUEST_SCRIPT)),
        ]
        return subprocess.run(argv, cwd=PROJECT, env=environment(), check=False).returncode


def check() -> int:
    """Say what is possible here."""
    for name in features.PROBES:
        print(f"{name:6} {features.missing(name) or 'the running kernel has it'}")
    print(f"kernel {qemu.ensure_kernel().image}")
    print(f"kvm    {'works' if qemu.kvm_works() else 'not usable: software emulation'}")
    print(f"uml    {uml.usable() or 'not usable'}")
    return 0


# -- the machine -----------------------------------------------------------------------------------


@contextlib.contextmanager
def in_vm(
    command: Sequence[str], folder: Path, timeout: float, package: Path | None
) -> Iterator[Machine]:
    """A VM that runs the command, or user-mode Linux of that package; its /run/out is `folder`."""
    if package is None:
        argv = qemu.command(qemu.ensure_kernel(), folder, kvm=qemu.kvm_works())
    else:
        argv = uml.command(package, folder)
    with booted(argv, command, folder, timeout) as machine:
        yield machine


if __name__ == "__main__":
    sys.exit(main())
