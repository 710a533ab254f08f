"""The files of a lab: what `up` writes for the agent and for programs run in the pods."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kns.cluster.environment import service_environment
from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.cluster.podfiles import internet_files, node_files, pod_files
from kns.compile import names
from kns.compile.paths import LabPaths
from kns.engine.private import ensure_folder, write_private
from kns.errors import KnsError, from_os_error
from kns.kinds.pod import Pod


def write_lab(paths: LabPaths, spec_text: str, leases: Leases, options: Mapping[str, str]) -> None:
    """The spec copy, leases and options; first of all, for a crash must not lose addresses."""
    ensure_folder(paths.folder)
    _write(paths.leases, leases.to_json())
    _write(paths.options, json.dumps(options))
    _write(paths.spec, spec_text)


@dataclass(frozen=True, slots=True)
class LabFiles:
    """What the lab's own files held before an `up`, to put back if that fails."""

    contents: Mapping[Path, bytes | None]

    @staticmethod
    def read(paths: LabPaths) -> LabFiles:
        """Keep what the files hold now; one that is missing is kept as missing."""
        files = (paths.leases, paths.options, paths.spec)
        return LabFiles({path: _content(path) for path in files})

    def restore(self) -> None:
        """Put back what they held."""
        for path, content in self.contents.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif content != _content(path):
                write_private(path, content.decode(errors="surrogateescape"))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, text: str) -> bool:
    """Write the file if it says something else; True if it did."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except OSError:
        pass
    write_private(path, text)
    return True


def write_etc(cluster: Cluster, paths: LabPaths, new: Collection[str]) -> None:
    """resolv.conf, hosts, nsswitch.conf of every netns; `env` of pods whose netns is `new`.

    A pod keeps the service variables of the moment in which it was made, as a container does.
    """
    wanted = set()
    ensure_folder(paths.logs)
    for netns, files in _all_files(cluster):
        folder = paths.pod_etc(netns)
        wanted.add(netns)
        ensure_folder(folder)
        for name, text in files.items():
            _write(folder / name, text)
    for pod in cluster.pods:
        netns = names.netns_of_pod(cluster.name, pod.namespace, pod.name)
        file = paths.pod_etc(netns) / "env"
        if netns in new or not file.exists():
            write_private(file, _environment(cluster, pod))
    _remove_others(paths, wanted)


def _all_files(cluster: Cluster) -> Iterator[tuple[str, Mapping[str, str]]]:
    lab = cluster.name
    for node in cluster.nodes:
        yield names.netns_of_node(lab, node.name), node_files(cluster, node)
    for host in cluster.internet:
        yield names.netns_of_internet(lab, host.name), internet_files(cluster, host)
    for pod in cluster.pods:
        yield names.netns_of_pod(lab, pod.namespace, pod.name), pod_files(cluster, pod)


def _environment(cluster: Cluster, pod: Pod) -> str:
    return json.dumps(service_environment(cluster, pod))


def _remove_others(paths: LabPaths, wanted: Collection[str]) -> None:
    for folder in (paths.folder / "etc").iterdir():
        if folder.name not in wanted:
            shutil.rmtree(folder, ignore_errors=True)


def remove_lab(paths: LabPaths) -> list[KnsError]:
    """Remove all files of the lab, going on after errors; the first error that came up."""
    errors: list[OSError] = []

    def note(_function: object, _path: str, info: tuple[object, BaseException, object]) -> None:
        error = info[1]
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            errors.append(error)

    shutil.rmtree(paths.folder, onerror=note)
    return [from_os_error(error) for error in errors[:1]]
