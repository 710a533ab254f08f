"""The journal of a lab's objects: what the agent holds, on file, so that it outlives the agent.

    objects.log     {"of": DIGEST}   {"version": 7, "put": {…}}   {"version": 8, "gone": ["Pod", …]}
    objects.base    the objects as the file has them, to tell what was changed since

Each write of the agent's store is a line, written before the write is answered. Whoever wants the
lab as it is now reads the lines from the first to the last. The first line says of which lab file
they are: after `up` of another one they are nobody's.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kns.compile.paths import LabPaths
from kns.engine.files import stamp_of
from kns.engine.private import write_private
from kns.kinds.asked import OWN, OWN_NAMESPACES, is_made, metadata, taints
from kns.kinds.common import Object
from kns.kinds.objects import Ref, mapping, ref_of, text
from kns.labfile.reader import JSON

#: lines for each object after which the journal is written anew
_SLACK = 8


@dataclass(frozen=True, slots=True)
class Kept:
    """The objects of a journal, in the order in which they came, and the store's version."""

    objects: tuple[Object, ...]
    version: int


class Journal:
    """The journal of one lab, for its agent."""

    def __init__(self, paths: LabPaths) -> None:
        self._paths, self._path = paths, paths.objects
        #: below 0 as long as nothing is put on file
        self._fd = -1
        self._lines = 0
        self._objects: dict[Ref, Object] = {}
        self._of = ""
        #: what the lab file was when it was read last, and its digest
        self._known = ((0, 0, 0), "")
        #: a worker asks whether it is current while the event loop writes it anew
        self._swap = threading.Lock()

    def prepare(self, of: str, objects: Iterable[Object] = ()) -> None:
        """Begin with these objects, of the lab file with that digest; nothing is on file yet."""
        self.close()
        self._objects = {ref_of(item): item for item in objects}
        self._of = of

    def begin(self, version: int) -> None:
        """Put on file what there is by now, and from now on each write."""
        self._rewrite(version, self._objects)

    def _rewrite(self, version: int, objects: Mapping[Ref, Object]) -> None:
        lines = [json.dumps({"of": self._of}) + "\n"]
        lines += [_line(version, "put", item) for item in objects.values()]
        with self._swap:
            write_private(self._path, "".join(lines))
            flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            opened = os.open(self._path, flags)
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = opened
        self._lines = len(lines)

    def append(self, version: int, item: Object, *, gone: bool = False) -> None:
        """Note that an object was written, or deleted. Events are not kept.

        OSError where it can't be put on file: then it is not noted at all.
        """
        ref = ref_of(item)
        if ref[0] == "Event":
            return
        if self._fd >= 0 and self._lines > _SLACK * (len(self._objects) + 100):
            changed = {**self._objects}
            _note(changed, ref, item, gone=gone)
            self._rewrite(version, changed)
            self._objects = changed
            return
        if self._fd >= 0:
            line = _line(version, "gone", list(ref)) if gone else _line(version, "put", item)
            _append_whole(self._fd, line.encode())
            self._lines += 1
        _note(self._objects, ref, item, gone=gone)

    @property
    def objects(self) -> tuple[Object, ...]:
        """What is in it, in the order in which it came."""
        return tuple(self._objects.values())

    @property
    def by_ref(self) -> dict[Ref, Object]:
        """The same by what names them; of the caller's own."""
        return {**self._objects}

    @property
    def is_current(self) -> bool:
        """Whether the file is still the one that was written, and the lab's file, too."""
        with self._swap:
            if self._fd < 0:
                return False
            try:
                is_same = self._path.stat().st_ino == os.fstat(self._fd).st_ino
            except FileNotFoundError:
                return False
        return is_same and self._of == self._digest()

    def _digest(self) -> str:
        """The lab file's digest, read again only if it is another file: each request asks."""
        stamp = stamp_of(self._paths.spec)
        if self._known[0] != stamp:
            self._known = (stamp, digest_of(self._paths))
        return self._known[1]

    def close(self) -> None:
        """Let go of the file; nothing is put there any more."""
        with self._swap:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def _note(objects: dict[Ref, Object], ref: Ref, item: Object, *, gone: bool) -> None:
    if gone:
        objects.pop(ref, None)
    else:
        objects[ref] = item


def _append_whole(fd: int, line: bytes) -> None:
    """Append the line; on a full disk nothing of it stays, which would hide what comes later."""
    size = os.fstat(fd).st_size
    try:
        written = 0
        while written < len(line):
            written += os.write(fd, line[written:])
    except OSError:
        os.ftruncate(fd, size)
        raise


def digest_of(paths: LabPaths) -> str:
    """What tells the lab file from others."""
    try:
        return hashlib.sha256(paths.spec.read_bytes()).hexdigest()
    except OSError:
        return ""


def _line(version: int, verb: str, value: JSON) -> str:
    return json.dumps({"version": version, verb: value}, separators=(",", ":")) + "\n"


def read_objects(paths: LabPaths) -> Kept | None:
    """What the journal holds; None if there is none, or nothing in it."""
    try:
        written = paths.objects.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    first, _, rest = written.partition("\n")
    if first != json.dumps({"of": digest_of(paths)}):
        return None
    found: dict[Ref, Object] = {}
    version = 0
    for line in rest.splitlines():
        try:
            entry = json.loads(line)
            version = int(entry["version"])
            if "gone" in entry:
                kind, namespace, name = entry["gone"]
                found.pop((kind, namespace, name), None)
            else:
                found[ref_of(entry["put"])] = entry["put"]
        except (ValueError, KeyError, TypeError, AttributeError):
            break  # the agent died while it wrote this one
    if not any(kind == "Lab" for kind, _, _ in found):
        return None
    return Kept(tuple(found.values()), version)


# -- what was changed since ------------------------------------------------------------------------


def write_base(paths: LabPaths, objects: Iterable[Object]) -> None:
    """Keep what the objects ask for before anybody has changed one."""
    lines = (json.dumps(item, separators=(",", ":")) for item in map(_asked, _own(objects)))
    write_private(paths.objects_base, "\n".join(lines))


def live_changes(paths: LabPaths) -> tuple[str, ...]:
    """What was changed since `up`, a line each: `deployment/web: spec.replicas 3 → 5`."""
    kept = read_objects(paths)
    try:
        lines = paths.objects_base.read_text(encoding="utf-8").splitlines()
        before: dict[Ref, Object] = {ref_of(item): item for item in map(json.loads, lines)}
    except (OSError, ValueError):
        return ()
    if kept is None:
        return ()
    after = {ref_of(item): _asked(item) for item in _own(kept.objects)}
    return tuple(_changes(before, after))


def _own(objects: Iterable[Object]) -> Iterator[Object]:
    """The objects that somebody asked for: nothing that a controller made."""
    return (item for item in objects if not is_made(item))


def _asked(item: Object) -> Object:
    """What an object asks for, without what a server writes of itself."""
    about = metadata(item)
    if text(item, "metadata", "deletionTimestamp"):
        about["deletionTimestamp"] = True
    rest: Object = {key: value for key, value in item.items() if key != "status"}
    if item.get("kind") == "Node":
        others: Object = {k: v for k, v in mapping(item, "spec").items() if k != "taints"}
        rest["spec"] = {**others, "taints": taints(item)} if taints(item) else others
    return {**rest, "metadata": about}


def _changes(before: Mapping[Ref, Object], after: Mapping[Ref, Object]) -> Iterator[str]:
    for ref, item in after.items():
        old = before.get(ref)
        if old is None:
            if ref not in OWN | OWN_NAMESPACES:
                yield f"{name_text(ref)}: created"
        elif old != item:
            yield f"{name_text(ref)}: {', '.join(_differences(old, item)) or 'changed'}"
    for ref in before:
        if ref not in after:
            yield f"{name_text(ref)}: deleted"


def name_text(ref: Ref) -> str:
    """As commands name an object: `deployment/web`, with its namespace unless it is `default`."""
    kind, namespace, name = ref
    where = f" in {namespace}" if namespace not in {"", "default"} else ""
    return f"{kind.lower()}/{name}{where}"


def _differences(old: JSON, new: JSON, path: str = "") -> Iterator[str]:
    """Each part that is another one now, by its path; whole where it came or went."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key) != new.get(key):
                below = f"{path}.{key}" if path else str(key)
                yield from _differences(old.get(key), new.get(key), below)
    elif isinstance(old, dict | list) or isinstance(new, dict | list):
        # an empty list is none; an empty mapping may say all there is to say (`apiServer: {}`)
        was, is_now = (value is not None and value != [] for value in (old, new))
        yield f"{path} changed" if was and is_now else f"{path} {'set' if is_now else 'removed'}"
    else:
        yield f"{path} {_word(old)} → {_word(new)}"


def _word(value: JSON) -> str:
    return "unset" if value is None else json.dumps(value) if not isinstance(value, str) else value
