"""The resolved cluster beside the lab's files, so that a command needn't resolve it again.

Reading YAML, checking and resolving takes 0.4 s of a small lab, half of it imports, and 0.7 s of a
thousand pods; the snapshot 0.2 s and 0.3 s. Each command on a running lab has this advantage, and
the agent, for which `up` waits.

The snapshot bears a digest of the files that it was made of: if one of them is not as it was then,
or if the snapshot is of another kns, or damaged, there is no snapshot. It says, too, whether the
cluster was carried out: `up` writes it first, for the agent that starts meanwhile, and may be
killed before the kernel holds any of it.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import kns
from kns.cluster.model import Cluster
from kns.compile.paths import LabPaths
from kns.engine.files import stamp_of
from kns.engine.private import write_private

#: SHA-256, in hexadecimal digits
_DIGEST_CHARACTERS = 64
#: by whether the cluster was carried out; of one length, for it is written over
_MARKS = {False: "0", True: "1"}


def save(paths: LabPaths, cluster: Cluster, *, carried_out: bool = True) -> None:
    """Keep the cluster that the lab's files, as they are now, lead to."""
    kept = base64.b64encode(pickle.dumps(cluster, 5)).decode()
    write_private(paths.snapshot, f"{_digest(paths)} {_MARKS[carried_out]} {kept}")


def mark_carried_out(paths: LabPaths) -> None:
    """Say of the snapshot that its cluster was carried out, whatever files it is of."""
    with contextlib.suppress(OSError), paths.snapshot.open("r+b") as file:
        file.seek(_DIGEST_CHARACTERS + 1)
        file.write(_MARKS[True].encode("ascii"))


def renew(paths: LabPaths) -> bool:
    """Say of the snapshot that it is of the files as they are now, and carried out.

    False if there is none. Whoever calls it has carried out all that they say.
    """
    try:
        with paths.snapshot.open("r+b") as file:
            file.write(f"{_digest(paths)} {_MARKS[True]}".encode("ascii"))
    except OSError:
        return False
    return True


def forget(paths: LabPaths) -> None:
    """Have none: the lab is about to be another one."""
    paths.snapshot.unlink(missing_ok=True)


def restore(paths: LabPaths, *, carried_out: bool = False) -> Cluster | None:
    """The cluster of the lab's files, if they are as they were when it was saved.

    `carried_out`: only if the kernel was made to hold it.
    The folder is its owner's alone (0700), as every file that decides what kns does as root.
    """
    try:
        if paths.snapshot.stat().st_uid != os.geteuid():
            return None
        digest, mark, kept = paths.snapshot.read_text(encoding="ascii").split(" ")
        if digest != _digest(paths) or (carried_out and mark != _MARKS[True]):
            return None
        cluster = pickle.loads(base64.b64decode(kept))  # noqa: S301 - our own file
    except Exception:  # whatever is wrong with it, the files themselves are still there
        return None
    return cluster if isinstance(cluster, Cluster) else None


def _digest(paths: LabPaths) -> str:
    # the journal only grows, or becomes another file: to read all of it each time is dear
    hashed = hashlib.sha256(f"{kns.__version__} {_code()} {stamp_of(paths.objects)}".encode())
    for path in (paths.spec, paths.leases, paths.options, paths.faults):
        content = path.read_bytes() if path.exists() else b""
        hashed.update(f" {len(content)} ".encode() + content)
    return hashed.hexdigest()


@functools.cache
def _code() -> str:
    """What tells the code of this process from other code: its files' names, times and sizes."""
    entries = sorted(_sources(), key=lambda item: item.path)
    found = ((entry.name, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in entries)
    return " ".join(f"{name} {changed} {size}" for name, changed, size in found)


def _sources() -> Iterator[os.DirEntry[str]]:
    """The files of the code that makes a cluster of a lab's files."""
    root = Path(kns.__file__).parent
    for folder in ("labfile", "kinds", "cluster"):
        with os.scandir(root / folder) as entries:
            yield from (entry for entry in entries if entry.name.endswith(".py"))
