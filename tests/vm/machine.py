"""A guest from its start to its command's exit code, whatever runs it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
EXIT_TIMEOUT = 124
#: what a guest that isn't emulated needs to boot and power off, many times over
TRIAL_TIMEOUT = 60
#: variables of the environment that the command in the VM sees too
PASSED = ("CI", "KNS_TIER", "PYTEST_ADDOPTS")


class RigError(Exception):
    """The VM can't be had here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A guest that was started, and `deadline`, the monotonic time at which it is killed."""

    process: subprocess.Popen[bytes]
    folder: Path
    since: float
    deadline: float
    quiet: bool

    def wait(self) -> int:
        """The command's exit code, 124 after the timeout; its output appears here as it comes.

        RigError if the machine ended without running it.
        """
        ended = self._follow()
        result = self.folder / "rc"
        if not (result.exists() and result.read_text().strip()):
            if not ended:
                seconds = self.deadline - self.since
                print(f"rig: killed after {seconds:.0f} s", file=sys.stderr)
                return EXIT_TIMEOUT
            last = (self.folder / "console").read_text(errors="replace").strip()[-2000:]
            raise RigError(f"the VM ended without running the command:\n{last}")
        code = int(result.read_text())
        if not self.quiet:
            seconds = result.stat().st_mtime - (self.folder / "command").stat().st_mtime
            print(f"rig: {seconds:.0f} s in the VM, exit code {code}", flush=True)
        return code

    def _follow(self) -> bool:
        """Copy the growing log to stdout until the VM powers off; False if the time ran out."""
        log = self.folder / "log"
        position = 0
        while True:
            ended = self.process.poll() is not None
            if log.exists() and not self.quiet:
                with log.open("rb") as source:
                    source.seek(position)
                    new = source.read()
                position += len(new)
                sys.stdout.write(new.decode(errors="replace"))
                sys.stdout.flush()
            if ended or time.monotonic() > self.deadline:
                return ended
            time.sleep(0.2)


@contextlib.contextmanager
def booted(
    argv: Sequence[str],
    command: Sequence[str],
    folder: Path,
    timeout: float,
    *,
    quiet: bool = False,
) -> Iterator[Machine]:
    """Start the machine with `argv`, the command written where it looks for it; it ends with us."""
    for name in ("rc", "log"):
        (folder / name).unlink(missing_ok=True)
    passed = (
        f"export {name}={shlex.quote(os.environ[name])}" for name in PASSED if name in os.environ
    )
    (folder / "command").write_text("\n".join([*passed, f"exec {shlex.join(command)}", ""]))
    with (folder / "console").open("wb") as console:
        process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    now = time.monotonic()
    try:
        yield Machine(process, folder, now, now + timeout, quiet)
    finally:
        # a session of its own, so that Ctrl-C is ours to hand on; QEMU is a grandchild in it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def boots(argv: Callable[[Path], Sequence[str]]) -> bool:
    """True if this machine, told its folder, runs a command."""
    with (
        tempfile.TemporaryDirectory(prefix="kns-vm-") as name,
        booted(argv(Path(name)), ["true"], Path(name), TRIAL_TIMEOUT, quiet=True) as machine,
    ):
        try:
            return machine.wait() == 0
        except RigError:
            return False


def environment() -> dict[str, str]:
    """Vng starts its own virtme-run by name, so its folder has to be in PATH."""
    scripts = sysconfig.get_path("scripts")
    return {**os.environ, "PATH": f"{scripts}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
