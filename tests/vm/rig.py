"""Run the tests that the running kernel can't, on Debian's own kernel in a virtual machine.

    python -m tests.vm.rig test [PYTEST-ARGS…]   the tests marked ipvs, netem or dummy; --slow:
                                                 also every lab in IPVS mode (half an hour)
    python -m tests.vm.rig run -- COMMAND…       any command, as root in the VM
    python -m tests.vm.rig shell                 a shell in the VM
    python -m tests.vm.rig check                 what of this is possible here

    running kernel has the features ──▶ pytest right here
    it has not ──▶ kernel package unpacked in the cache ──▶ virtme-ng + QEMU (KVM if it works)
                   the guest sees this machine's files read-only: same project, same .venv

The kernel package comes from apt and is unpacked below ${XDG_CACHE_HOME:-~/.cache}/kns/vm; nothing
is installed. Exit code: the command's own, 3 if neither way is possible, 124 after the timeout.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kns.kernel.processes import raise_file_limit
from tests.vm import features

PROJECT = Path(__file__).resolve().parents[2]
GUEST_SCRIPT = Path(__file__).with_name("guest.sh")
#: the guest has a /tmp and /run of its own, which would hide a checkout below this machine's
GUEST_COMMAND = (
    "mkdir -p /run/project"
    " && mount -t 9p -o trans=virtio,msize=512000,cache=loose,ro project /run/project"
    f" && exec /run/project/tests/vm/guest.sh {shlex.quote(str(PROJECT))}"
)
EXIT_IMPOSSIBLE = 3
EXIT_TIMEOUT = 124
#: the default bound of `test`; software emulation is about twenty times slower than the machine
TEST_TIMEOUT = 2400
#: how much longer the slow tests may take together
SLOWER = 4
#: what a guest needs to boot and power off, many times over
KVM_TRIAL_TIMEOUT = 20
#: variables of the environment that the command in the VM sees too
PASSED = ("CI", "KNS_TIER", "PYTEST_ADDOPTS")
#: program → Debian package
PROGRAMS = {
    **{
        "x86_64": {"qemu-system-x86_64": "qemu-system-x86"},
        "aarch64": {"qemu-system-aarch64": "qemu-system-arm"},
    }.get(platform.machine(), {}),
    "busybox": "busybox-static",
    "modprobe": "kmod",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
}


class RigError(Exception):
    """The VM can't be had here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package."""

    image: Path
    modules: Path


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
                return test([*rest, "-m", markers], options.junit, timeout)
            case "run":
                return run_command(options.command, options.timeout)
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
    run_verb.add_argument("command", nargs="+")
    verbs.add_parser("shell", help="a shell in the VM")
    verbs.add_parser("check", help="what is possible here")
    return result


# -- the verbs -------------------------------------------------------------------------------------


def test(pytest_args: Sequence[str], junit: Path, timeout: float) -> int:
    """Run the marked tests, natively if the running kernel has every feature."""
    junit = junit.resolve()
    junit.parent.mkdir(parents=True, exist_ok=True)
    lacking = [why for name in features.PROBES if (why := features.missing(name))]
    base = [sys.executable, "-m", "pytest"]
    if not lacking:
        print("rig: the running kernel has every feature: no VM needed", flush=True)
        done = subprocess.run(
            [*base, f"--junitxml={junit}", *pytest_args], cwd=PROJECT, timeout=timeout, check=False
        )
        return done.returncode
    for why in lacking:
        print(f"rig: {why}", flush=True)
    files = files_with_marked_tests(base, pytest_args)
    command = [*base, "-p", "no:cacheprovider", "--junitxml=/run/out/junit.xml"]
    with tempfile.TemporaryDirectory(prefix="kns-vm-") as folder:
        code = in_vm([*command, *options_of(pytest_args), *files], Path(folder), timeout)
        written = Path(folder) / "junit.xml"
        if written.exists():
            shutil.copyfile(written, junit)
    return code


def files_with_marked_tests(base: Sequence[str], pytest_args: Sequence[str]) -> list[str]:
    """The files to collect: importing all others in an emulated machine would take minutes."""
    done = subprocess.run(
        [*base, "--collect-only", "-q", "-p", "no:cacheprovider", *pytest_args],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 5}:
        raise RigError(f"the tests can't be collected:\n{done.stdout}{done.stderr}")
    # `FILE::TEST`, or `FILE: COUNT` where the arguments hold a second -q
    found = sorted(set(re.findall(r"^(\S+\.py)(?:::|: \d+$)", done.stdout, re.MULTILINE)))
    if not found:
        raise RigError("no test carries one of the markers " + ", ".join(features.PROBES))
    return found


def options_of(pytest_args: Sequence[str]) -> list[str]:
    """The arguments without the paths, which the collection has resolved into files."""
    return [arg for arg in pytest_args if not (PROJECT / arg.partition("::")[0]).exists()]


def run_command(command: Sequence[str], timeout: float) -> int:
    """Any command in the VM."""
    with tempfile.TemporaryDirectory(prefix="kns-vm-") as folder:
        return in_vm(command, Path(folder), timeout)


def shell() -> int:
    """A shell in the VM on this terminal."""
    kernel = ensure_kernel()
    with tempfile.TemporaryDirectory(prefix="kns-vm-") as folder:
        argv = [*vng_command(kernel, Path(folder)), "--shell", str(GUEST_SCRIPT)]
        return subprocess.run(argv, cwd=PROJECT, env=vng_environment(), check=False).returncode


def check() -> int:
    """Say what is possible here."""
    for name in features.PROBES:
        print(f"{name:6} {features.missing(name) or 'the running kernel has it'}")
    kernel = ensure_kernel()
    print(f"kernel {kernel.image}")
    print(f"kvm    {'works' if kvm_works(kernel) else 'not usable: software emulation'}")
    return 0


# -- the machine -----------------------------------------------------------------------------------


def in_vm(command: Sequence[str], folder: Path, timeout: float) -> int:
    """Run the command in a VM, its output here as it comes; its /run/out is `folder`."""
    kernel = ensure_kernel()
    start = time.monotonic()
    code = boot(kernel, command, folder, timeout)
    print(f"rig: {time.monotonic() - start:.0f} s in the VM, exit code {code}", flush=True)
    return code


def boot(
    kernel: Kernel,
    command: Sequence[str],
    folder: Path,
    timeout: float,
    *,
    kvm: bool | None = None,
    quiet: bool = False,
) -> int:
    """Boot, run the command, power off. Its exit code, 124 after the timeout; RigError: no boot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("rc", "log"):
        (folder / name).unlink(missing_ok=True)
    passed = (
        f"export {name}={shlex.quote(os.environ[name])}" for name in PASSED if name in os.environ
    )
    (folder / "command").write_text("\n".join([*passed, f"exec {shlex.join(command)}", ""]))
    argv = [*vng_command(kernel, folder, kvm=kvm), "--", GUEST_COMMAND]
    with (folder / "console").open("wb") as console:
        process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            env=vng_environment(),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        ended = follow(process, folder / "log", timeout, quiet=quiet)
    finally:
        # a session of its own, so that Ctrl-C is ours to hand on; QEMU is a grandchild in it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = folder / "rc"
    if result.exists() and result.read_text().strip():
        return int(result.read_text())
    if not ended:
        print(f"rig: killed after {timeout:.0f} s", file=sys.stderr)
        return EXIT_TIMEOUT
    last = (folder / "console").read_text(errors="replace").strip()[-2000:]
    raise RigError(f"the VM ended without running the command:\n{last}")


def follow(process: subprocess.Popen[bytes], log: Path, timeout: float, *, quiet: bool) -> bool:
    """Copy the growing log to stdout until the VM powers off; False if the time ran out before."""
    deadline = time.monotonic() + timeout
    position = 0
    while True:
        ended = process.poll() is not None
        if log.exists() and not quiet:
            with log.open("rb") as source:
                source.seek(position)
                new = source.read()
            position += len(new)
            sys.stdout.write(new.decode(errors="replace"))
            sys.stdout.flush()
        if ended or time.monotonic() > deadline:
            return ended
        time.sleep(0.2)


def vng_command(kernel: Kernel, folder: Path, *, kvm: bool | None = None) -> list[str]:
    """Virtme-ng's command line, without what to run."""
    accelerated = kvm_works(kernel) if kvm is None else kvm
    shares = {
        "host": ("/", ",readonly=on"),
        "project": (str(PROJECT), ",readonly=on"),
        "results": (str(folder), ""),
    }
    opts = " ".join(
        f"-fsdev local,id={tag},path={path},security_model=none,multidevs=remap{mode}"
        f" -device virtio-9p-pci,fsdev={tag},mount_tag={tag}"
        for tag, (path, mode) in shares.items()
    )
    return [
        *("vng", "--run", str(kernel.image), "--force-9p", "--user", "root"),
        *("--cpus", "2", "--memory", "2G", f"--qemu-opts={opts}"),
        *(() if accelerated else ("--disable-kvm",)),
    ]


def vng_environment() -> dict[str, str]:
    """Vng starts its own virtme-run by name, so its folder has to be in PATH."""
    scripts = sysconfig.get_path("scripts")
    return {**os.environ, "PATH": f"{scripts}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


def kvm_works(kernel: Kernel) -> bool:
    """True if a guest really boots under KVM: a readable /dev/kvm promises less than that."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory(prefix="kns-vm-") as folder:
        try:
            code = boot(kernel, ["true"], Path(folder), KVM_TRIAL_TIMEOUT, kvm=True, quiet=True)
        except RigError:
            return False
    return code == 0


# -- the kernel ------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where kernels are unpacked."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kns" / "vm"


def ensure_kernel() -> Kernel:
    """Debian's kernel from the cache, fetched and unpacked the first time."""
    check_programs()
    cache = cache_folder()
    ready = sorted(cache.glob("linux-image-*/ready"))
    folder = ready[-1].parent if ready else fetch_kernel(cache)
    image = next((folder / "boot").glob("vmlinuz-*"))
    version = image.name.removeprefix("vmlinuz-")
    return Kernel(image, folder / "lib/modules" / version)


def check_programs() -> None:
    """RigError with the line that installs what is missing."""
    path = vng_environment()["PATH"]
    packages = sorted({p for name, p in PROGRAMS.items() if shutil.which(name, path=path) is None})
    hints = [f"apt-get install {' '.join(packages)}"] if packages else []
    if shutil.which("vng", path=path) is None:
        hints.append(f"{sys.executable} -m pip install virtme-ng")
    if hints:
        raise RigError("no VM without QEMU and virtme-ng\nhint: " + " && ".join(hints))


def fetch_kernel(cache: Path) -> Path:
    """Download the package that linux-image-ARCH depends on and unpack it; atomic."""
    if shutil.which("apt-get") is None:
        raise RigError(
            "the VM's kernel comes from Debian's packages, and there is no apt-get here\n"
            "hint: on a kernel with IPVS, netem and dummy links no VM is needed: modprobe ip_vs"
        )
    arch = output("dpkg", "--print-architecture").strip()
    depends = output("apt-cache", "depends", f"linux-image-{arch}")
    package = next(
        (line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line), ""
    )
    if not package:
        raise RigError(f"apt knows no linux-image-{arch}\nhint: apt-get update")
    cache.mkdir(parents=True, exist_ok=True)
    print(f"rig: fetching {package} into {cache}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        scratch = Path(name)
        output("apt-get", "download", package, folder=scratch)
        archive = next(scratch.glob("*.deb"))
        target = scratch / archive.stem
        output("dpkg-deb", "-x", str(archive), str(target))
        version = next((target / "boot").glob("vmlinuz-*")).name.removeprefix("vmlinuz-")
        output("depmod", "-b", str(target), version)
        (target / "ready").touch()
        final = cache / archive.stem
        if not final.exists():
            target.rename(final)
    return final


def output(*command: str, folder: Path | None = None) -> str:
    """What a program prints; RigError with its own words if it fails."""
    env = {**vng_environment(), "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RigError(f"{shlex.join(command)}: {done.stderr.strip()}\nhint: apt-get update")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
