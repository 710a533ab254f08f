"""The lab's own files: what `up` writes down of the lab, and takes away with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kns.cluster.leases import Leases
from kns.compile.paths import LabPaths
from kns.engine.private import ensure_folder, write_private
from kns.errors import KnsError, from_os_error

#: inode, time and size of a file
FileStamp = tuple[int, int, int]
#: those of a lab's files
Stamp = tuple[FileStamp, ...]


def stamp(paths: LabPaths) -> Stamp:
    """What is another one once anybody has written what a lab is made of."""
    return tuple(map(stamp_of, (paths.spec, paths.leases, paths.options, paths.objects)))


def stamp_of(path: Path) -> FileStamp:
    """What is another one once the file was written; zeros where there is none."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def write_leases(paths: LabPaths, leases: Leases) -> None:
    """What was handed out, before anybody has it: a crash must not lose addresses."""
    _write(paths.leases, leases.to_json())


def write_lab(paths: LabPaths, spec_text: str, leases: Leases, options: Mapping[str, str]) -> None:
    """The spec copy, leases and options; first of all, for a crash must not lose addresses."""
    ensure_folder(paths.logs)  # in the lab's own folder, which is made with it
    _write(paths.leases, leases.to_json())
    _write(paths.options, json.dumps(options))
    _write(paths.spec, spec_text)
    paths.faults.unlink(missing_ok=True)  # those of the file count again


def forget_objects(paths: LabPaths) -> None:
    """Remove what the agent has kept of the objects: it begins anew with those of the file."""
    for path in (paths.objects, paths.objects_base):
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class LabFiles:
    """What the lab's own files held before an `up`, to put back if that fails."""

    contents: Mapping[Path, bytes | None]

    @staticmethod
    def read(paths: LabPaths, *, objects: bool) -> LabFiles:
        """Keep what the files hold now; one that is missing is kept as missing.

        `objects`: those of the agent too, unless it goes on writing them. The snapshot is none of
        them: what was carried out is no more what it says.
        """
        files = (
            paths.leases,
            paths.options,
            paths.spec,
            paths.faults,
            paths.etc_file,
            *((paths.objects, paths.objects_base) if objects else ()),
        )
        return LabFiles({path: _content(path) for path in files})

    def restore(self) -> None:
        """Put back what they held."""
        for path, content in self.contents.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif content != _content(path):
                write_private(path, content)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, text: str) -> bool:
    """Write the file if it says something else; True if it did."""
    try:
        if path.read_bytes() == text.encode():
            return False
    except OSError:
        pass
    write_private(path, text)
    return True


def remove_lab(paths: LabPaths) -> list[KnsError]:
    """Remove all files of the lab, going on after errors; the first error that came up."""
    errors: list[OSError] = []

    def note(_function: object, _path: str, info: tuple[object, BaseException, object]) -> None:
        error = info[1]
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            errors.append(error)

    shutil.rmtree(paths.folder, onerror=note)
    return [from_os_error(error) for error in errors[:1]]
