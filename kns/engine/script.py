"""A lab as a POSIX shell script: the kernel's part, then its programs, by hand.

What the script starts is, to `kns up`, what an agent before it has left: it is taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from signal import Signals
from typing import assert_never

from kns.cluster.model import Cluster
from kns.compile.paths import LabPaths
from kns.compile.programs.program import Program
from kns.engine import certificates, etc
from kns.engine.environment import variables_in
from kns.engine.process_records import ProcessRecord, log_path, record_path, variables
from kns.engine.serving import ListenerOp, ProgramOp, ProgramVerb, ServingOp
from kns.plan import shell
from kns.plan.here_document import write_file
from kns.plan.ops import Op

_START = """\

# start NETNS HOSTNAME ETC LOG NAME=VALUE… COMMAND…: as the process of a container
start() {
    netns=$1 hostname=$2 etc=$3 log=$4
    shift 4
    setsid ip netns exec "$netns" unshare --uts sh -c '
        cd / && echo "$1" >/proc/sys/kernel/hostname
        for name in resolv.conf hosts nsswitch.conf; do
            [ ! -e "$2/$name" ] || mount --bind "$2/$name" "/etc/$name"
        done
        shift 2
        exec env -i PATH="$PATH:/usr/sbin:/sbin" HOME="${HOME:-/}" "$@"' \\
        sh "$hostname" "$etc" "$@" </dev/null >>"$log" 2>&1 &
}"""
_LISTENERS = """\

# Built-in servers, which kns up LAB.yaml opens, all of them in one process. By hand any server of
# that port will do: ip netns exec NETNS python3 -m http.server PORT"""


def script(cluster: Cluster, ops: Sequence[Op], serving: Sequence[ServingOp]) -> str:
    """A script that carries out all operations; it stops at the first that fails."""
    programs = [op for op in serving if isinstance(op, ProgramOp)]
    listeners = [op for op in serving if isinstance(op, ListenerOp)]
    lines = [*_programs(cluster, programs), *_listeners(listeners)]
    return shell.script(ops) + "".join(f"{line}\n" for line in lines)


def _listeners(ops: Sequence[ListenerOp]) -> Iterator[str]:
    if ops:
        yield _LISTENERS
        for op in ops:
            yield f"# {op.verb} {op.socket}" + (f" for {op.subject}" if op.subject else "")


def _programs(cluster: Cluster, ops: Sequence[ProgramOp]) -> Iterator[str]:
    if not ops:
        return
    paths = LabPaths(cluster.name)
    changed = [op.program for op in ops if op.program is not None]
    yield _START
    yield "umask 077"
    folders = {paths.logs, *(Path(path).parent for item in changed for path, _text in item.files)}
    yield f"mkdir -p {' '.join(quote(str(folder)) for folder in sorted(folders))}"
    yield from certificates.commands(cluster, paths)
    files = etc.desired(cluster, {})
    for name in dict.fromkeys(item.etc_name for item in changed if item.etc_name in files):
        yield from _write_all(paths.pod_etc(name), files[name])
    for op in ops:
        yield from _program(paths, op, files)


def _program(
    paths: LabPaths, op: ProgramOp, files: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    match op.verb:
        case ProgramVerb.STOP | ProgramVerb.RESTART if op.pid:
            yield f"kill {op.pid}"
            yield f"while kill -0 {op.pid} 2>/dev/null; do sleep 0.1; done"
        case _:
            pass
    if op.program is None:
        return
    for path, text in op.program.files:
        yield write_file(path, text)
    match op.verb:
        case ProgramVerb.START | ProgramVerb.RESTART:
            found = files.get(op.program.etc_name, {})
            yield from _start(paths, op.program, variables_in(found.get(etc.ENV, "[]")) or ())
        case ProgramVerb.RELOAD:
            yield f"kill -{Signals(op.program.reload_signal).name.removeprefix('SIG')} {op.pid}"
        case ProgramVerb.STOP:
            pass
        case _:
            assert_never(op.verb)


def _start(paths: LabPaths, item: Program, services: Iterable[tuple[str, str]]) -> Iterator[str]:
    words = [
        item.netns,
        item.hostname,
        str(paths.pod_etc(item.etc_name)),
        str(log_path(paths, item)),
        *(f"{name}={value}" for name, value in variables(item, tuple(services))),
        *item.command,
    ]
    yield f"start {' '.join(map(quote, words))}"
    record = ProcessRecord(item.key, 0, 0, item.digest).text
    record = record.replace('"pid": 0', '"pid": %d').replace('"started": 0', '"started": %d')
    started = "\"$(sed 's/.*) //' /proc/$!/stat | cut -d' ' -f20)\""
    yield f"printf {quote(record)} $! {started} >{quote(str(record_path(paths, item)))}"


def _write_all(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    yield f"mkdir -p {quote(str(folder))}"
    for name, text in files.items():
        if name != etc.ENV:  # what the process gets is in its environment
            yield write_file(str(folder / name), text)
