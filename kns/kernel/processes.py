"""The one door to other programs: argv lists, LC_ALL=C, a timeout, no shell.

A child inherits the namespaces of the *thread* that starts it. So a program is put into a netns by
starting it from a worker thread that has entered it: no nsenter, no extra exec.

A `Context` with `etc` gives the program what a container has: its own resolv.conf, hosts and
nsswitch.conf bound over /etc's in a private mount namespace, and its own hostname. Without the
private nsswitch.conf a host with nss-resolve would answer names from the host's resolver.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kns.errors import PlatformError
from kns.kernel import mounts, netns, syscalls
from kns.kernel.mounts import RunFiles

#: a program that was started and goes on
Process = subprocess.Popen[bytes]
#: a standard stream of a program that has none
NOTHING = subprocess.DEVNULL
#: the Debian package of a program whose name is not its package's
PACKAGES = {
    "iptables-restore": "iptables",
    "iptables-save": "iptables",
    "ip6tables-restore": "iptables",
    "ip6tables-save": "iptables",
    "nft": "nftables",
    "ping": "iputils-ping",
    "ip": "iproute2",
    "dig": "bind9-dnsutils",
    "nginx": "nginx-light",
    "bird": "bird2",
    "birdc": "bird2",
}
#: programs whose Debian packages start a daemon of the same name when they are installed
DAEMONS = frozenset({"bird", "haproxy", "nginx"})
#: what to do about a program that Debian doesn't have
ELSEWHERE = {
    "coredns": "put the program from coredns.io into the PATH, or leave out dns.server: coredns",
}


@dataclass(frozen=True, slots=True)
class Context:
    """Where a program runs: a netns, and optionally a container's own files, hostname, environment.

    A program that is spawned begins in `folder`; by default in the caller's.
    """

    netns: str
    etc: Path | None = None
    hostname: str = ""
    env: Mapping[str, str] | None = None
    folder: str | None = None
    #: files of its own below /var/run
    run: RunFiles | None = None


#: seconds after which a program that loads or reads rules counts as hanging, and how many bytes of
#: rules a second the slowest machine loads: ten thousand services take nft half a minute on a fast
#: one
PATIENCE, BYTES_PER_SECOND = 30.0, 20_000
#: seconds between two looks at whether a program should be stopped
_TURN = 0.1


def patience(rules: str = "") -> float:
    """For how many seconds a program may load the rules, or read what there is, at most."""
    return PATIENCE + len(rules) / BYTES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that has ended. `seconds` is its wall-clock time."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False
    stopped: bool = False

    @property
    def failure(self) -> str:
        """Why it has failed, in its own words if it had any; empty if it has not."""
        if self.stopped:
            return "interrupted"
        if self.timed_out:
            return f"{Path(self.argv[0]).name} did not end within {self.seconds:.0f} s"
        return (self.stderr.strip() or f"exit code {self.returncode}") if self.returncode else ""


def which(program: str) -> str:
    """The program's path; PlatformError with the package to install if it is missing."""
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which(program, path=f"{path}:/usr/sbin:/sbin")
    if found is None:
        package = PACKAGES.get(program, program)
        hint = ELSEWHERE.get(program, f"apt-get install {package}")
        if program in DAEMONS:
            # Debian starts what it installs, on the host's own ports
            hint = f"systemctl mask {program}; {hint} (masked, it is not started on this host)"
        raise PlatformError(f"the program {program} is not installed", hint=hint)
    return found


def run(
    argv: Sequence[str],
    *,
    context: Context | None = None,
    timeout: float = 30.0,
    input: str = "",  # noqa: A002 - subprocess' own word
    stop: threading.Event | None = None,
) -> Completed:
    """Run a program to its end and return what it said; it is killed after `timeout` seconds.

    With `stop`, also soon after that is set. Then the program is in a process group of its own:
    what it has started ends with it, and Ctrl-C at the terminal reaches it by `stop` alone.
    """
    command = [which(argv[0]), *argv[1:]]
    if context is None:
        return _run_here(command, dict(os.environ), timeout, input, stop)

    def body() -> Completed:
        enter(context)
        return _run_here(command, environment(context), timeout, input, stop)

    return netns.in_thread(body)


def _run_here(
    command: list[str],
    env: dict[str, str],
    timeout: float,
    text: str,
    stop: threading.Event | None,
) -> Completed:
    env["LC_ALL"] = "C"
    start = time.monotonic()
    with (
        _readable(text) as stdin,
        subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            process_group=None if stop is None else 0,
        ) as process,
    ):
        try:
            said = _said(process, start + timeout, stop)
        except BaseException:
            process.kill()
            raise
        out, err = said or _killed(process, is_group=stop is not None)
    stopped = said is None and stop is not None and stop.is_set()
    return Completed(
        argv=tuple(command),
        returncode=process.returncode,
        stdout=out.decode(errors="replace"),
        stderr=err.decode(errors="replace"),
        seconds=time.monotonic() - start,
        timed_out=said is None and not stopped,
        stopped=stopped,
    )


def _readable(text: str) -> IO[bytes]:
    """The text as a file in memory, at its beginning.

    Not a pipe: `communicate` doesn't go on feeding a program that was slow to read when it is
    called again after its timeout (CPython 3.11), and the program would wait for ever.
    """
    file = os.fdopen(os.memfd_create("stdin"), "w+b")
    try:
        file.write(text.encode())
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _said(
    process: Process, deadline: float, stop: threading.Event | None
) -> tuple[bytes, bytes] | None:
    """What the program says until it ends: its output and errors; None if it takes too long."""
    while True:
        left = deadline - time.monotonic()
        try:
            turn = left if stop is None else min(left, _TURN)
            return process.communicate(timeout=max(turn, 0))
        except subprocess.TimeoutExpired:
            if left <= 0 or (stop is not None and stop.is_set()):
                return None


def _killed(process: Process, *, is_group: bool) -> tuple[bytes, bytes]:
    """Kill the program; what it had said, unless a child of its keeps the pipes open."""
    if is_group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    try:
        return process.communicate(timeout=1)
    except subprocess.TimeoutExpired:
        return b"", b""


def spawn(
    argv: Sequence[str],
    *,
    context: Context | None = None,
    stdin: int | IO[bytes] = NOTHING,
    stdout: int | IO[bytes] = NOTHING,
    stderr: int | IO[bytes] = NOTHING,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own and return at once."""
    command = [which(argv[0]), *argv[1:]]

    def body() -> subprocess.Popen[bytes]:
        if context is not None:
            enter(context)
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment(context),
            pass_fds=tuple(pass_fds),
            cwd=context.folder if context is not None else None,
            start_new_session=True,
        )

    return netns.in_thread(body)


def release(process: Process) -> None:
    """Let a process live on by itself: nobody waits for it, and Python does not warn of that."""
    if process.returncode is None:
        process.returncode = 0


def replace(argv: Sequence[str], *, context: Context) -> None:
    """Become the program (execve): exit code, terminal and signals are the program's own.

    Enters the context with the calling thread, which may be the main one: nothing comes after.
    """
    enter(context)
    env = environment(context)
    program = shutil.which(argv[0], path=env.get("PATH", os.defpath))
    if program is None:
        is_there = "/" in argv[0] and Path(argv[0]).exists()
        raise PlatformError(
            f"{argv[0]}: {'not a program' if is_there else 'no such program'}",
            hint="programs come from this machine's own PATH",
        )
    # Python ignores SIGPIPE and the child would inherit that: `… | head` would not end it
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(program, list(argv), env)  # noqa: S606 - that is the point


def environment(context: Context | None) -> dict[str, str]:
    """The environment of a program in the context: the caller's, or exactly the context's own."""
    if context is None or context.env is None:
        return dict(os.environ)
    base = {key: os.environ[key] for key in ("PATH", "TERM", "LANG", "HOME") if key in os.environ}
    return {**base, **context.env}


def enter(context: Context) -> None:
    """Put the calling thread into the context for good; end the thread (or exec) afterwards."""
    if context.etc is None and not context.hostname:
        netns.enter(context.netns)
        return
    # CLONE_FS: a thread that shares its root directory with others can't change mount namespace
    syscalls.unshare(syscalls.CLONE_FS)
    netns.enter(context.netns)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
    mounts.keep_to_ourselves()
    # sysfs shows the netns in which it was mounted: without it /sys/class/net lists the host's
    with contextlib.suppress(OSError):
        syscalls.mount("sysfs", "/sys", "sysfs")
    if context.hostname:
        syscalls.sethostname(context.hostname)
    if context.etc is not None:
        mounts.bind_etc(context.etc)
    if context.run is not None:
        mounts.mount_run(context.run)


def in_netns(inodes: set[int]) -> Iterator[int]:
    """The pids of processes whose main thread is in one of the netns, given by inode."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - hot loop
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}/ns/net").st_ino in inodes:  # noqa: PTH116 - hot loop
                yield int(name)


def with_arguments(arguments: Sequence[str]) -> Iterator[int]:
    """The pids of our own processes, in our own mount namespace, whose command line ends so.

    The mount namespace tells apart what runs in a container of its own under the same names.
    """
    tail = b"\0" + b"\0".join(argument.encode() for argument in arguments) + b"\0"
    mounts = os.stat("/proc/self/ns/mnt").st_ino  # noqa: PTH116 - beside its likes
    for name in os.listdir("/proc"):  # noqa: PTH208 - hot loop
        if not name.isdigit() or not command_line(int(name)).endswith(tail):
            continue
        with contextlib.suppress(OSError):
            own = os.stat(f"/proc/{name}").st_uid == os.geteuid()  # noqa: PTH116
            if own and os.stat(f"/proc/{name}/ns/mnt").st_ino == mounts:  # noqa: PTH116
                yield int(name)


def kill_all(pids: Sequence[int], *, grace: float) -> tuple[int, ...]:
    """SIGTERM, then SIGKILL after `grace` seconds; returns the pids that are still there.

    Through pidfds, so that a pid that was handed out again is never hit.
    """
    handles: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handles[pid] = os.pidfd_open(pid)
    try:
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
            for fd in handles.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, number)
            _wait_for_all(handles, patience)
            if not handles:
                break
        return tuple(handles)
    finally:
        for fd in handles.values():
            os.close(fd)


def _wait_for_all(handles: dict[int, int], seconds: float) -> None:
    """Drop those that ended from `handles`; a pidfd becomes readable when its process ends."""
    poller = select.poll()
    for fd in handles.values():
        poller.register(fd, select.POLLIN)
    by_fd = {fd: pid for pid, fd in handles.items()}
    deadline = time.monotonic() + seconds
    while handles and (left := deadline - time.monotonic()) > 0:
        for fd, _event in poller.poll(left * 1000):
            poller.unregister(fd)
            pid = by_fd[fd]
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            os.close(handles.pop(pid))


def command_line(pid: int) -> bytes:
    """A process' argv, NUL-separated; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def raise_file_limit() -> None:
    """Allow this process, and those that it starts, as many open files as it may have.

    The soft limit is often 1,024.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
