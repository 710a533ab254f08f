"""What programs in a lab's netns find in /etc, and the services' variables of its pods.

    etc.json      of every netns: resolv.conf, hosts, nsswitch.conf, and `env` of a pod
    etc/NETNS/    the same as files, unpacked when first a program in there needs them

A thousand pods are one file: on a disk, each file of theirs would cost as much as their netns.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kns.cluster.environment import service_environment
from kns.cluster.model import Cluster
from kns.cluster.podfiles import internet_files, node_files, pod_files
from kns.compile import names
from kns.compile.paths import LabPaths
from kns.engine.environment import variables_in
from kns.engine.private import ensure_folder, write_private

#: the pod's variables, beside the files of /etc
ENV = "env"

#: a netns' files: text by name
Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written down last, and of which cluster."""

    cluster: Cluster
    files: Mapping[str, Files]


def write(
    cluster: Cluster, paths: LabPaths, new: Collection[str], last: Written | None = None
) -> Written:
    """Write down the files of every netns, and bring what is unpacked up to date.

    A pod keeps the service variables of the moment in which it was made, as a container does:
    only those whose netns is `new`, or which have none yet, get the ones of now. Of what was
    written `last`, if that is known, nothing is read and only what has changed since is made.
    """
    before = _read(paths) if last is None else last.files
    kept = {
        name: files[ENV]
        for pod in cluster.pods
        if names.netns_with(cluster.name, pod) not in new
        for name in (names.netns_of_pod(cluster.name, pod.namespace, pod.name),)
        if (files := (before or {}).get(name)) is not None and ENV in files
    }
    wanted = desired(cluster, kept, last)
    if wanted != before:
        write_private(paths.etc_file, _packed(wanted))
    if last is None:
        _refresh(paths, wanted)
    elif wanted != before:
        _refresh(paths, wanted, last.files)
    return Written(cluster, wanted)


def desired(
    cluster: Cluster, kept: Mapping[str, str], last: Written | None = None
) -> dict[str, Files]:
    """The files of every netns. `kept`: the `env` files of pods that are not made anew."""
    environments: dict[tuple[str, bool], str] = {}
    same = _same_pods(cluster, last)
    sound = {text for text in set(kept.values()) if variables_in(text) is not None}
    wanted = dict(_host_files(cluster))
    for pod in cluster.pods:
        netns = names.netns_of_pod(cluster.name, pod.namespace, pod.name)
        env = kept.get(netns)
        if env is None or env not in sound:
            key = (pod.namespace, pod.enable_service_links)
            if key not in environments:
                environments[key] = json.dumps(service_environment(cluster, pod))
            env = environments[key]
        files = same.get(netns) or pod_files(cluster, pod)
        wanted[netns] = files if files.get(ENV) == env else {**files, ENV: env}
    return wanted


def _same_pods(cluster: Cluster, last: Written | None) -> dict[str, Files]:
    """The files of the pods, by netns, of which nothing has changed."""
    if last is None:
        return {}
    old = last.cluster
    if (old.network, old.nodes, old.internet) != (cluster.network, cluster.nodes, cluster.internet):
        return {}
    found = {}
    for pod in cluster.pods:
        netns = names.netns_of_pod(cluster.name, pod.namespace, pod.name)
        if netns in last.files and old.pod(pod.namespace, pod.name) == pod:
            found[netns] = last.files[netns]
    return found


def folder(paths: LabPaths, netns: str) -> Path | None:
    """The folder of a netns' files, unpacked if it was not yet; None if it has no files."""
    path = paths.pod_etc(netns)
    if path.is_dir():
        return path
    files = (_read(paths) or {}).get(netns)
    if files is None:
        return None
    _unpack(path, files)
    return path


def _host_files(cluster: Cluster) -> Iterator[tuple[str, Files]]:
    for node in cluster.nodes:
        yield names.netns_of_node(cluster.name, node.name), node_files(cluster, node)
    for host in cluster.internet:
        yield names.netns_of_internet(cluster.name, host.name), internet_files(cluster, host)


# -- one file for all ------------------------------------------------------------------------------


def _packed(wanted: Mapping[str, Files]) -> str:
    """Each text once: most pods share their resolv.conf, nsswitch.conf and variables."""
    numbers: dict[str, int] = {}
    netns = {
        name: {file: numbers.setdefault(text, len(numbers)) for file, text in files.items()}
        for name, files in wanted.items()
    }
    return json.dumps({"texts": list(numbers), "netns": netns})


def _read(paths: LabPaths) -> dict[str, Files] | None:
    """The files of every netns; None if they were never written down, or are damaged."""
    try:
        packed = json.loads(paths.etc_file.read_text(encoding="utf-8"))
        texts, netns = packed["texts"], packed["netns"]
        if not all(isinstance(text, str) for text in texts):
            return None
        return {
            name: {file: texts[number] for file, number in files.items()}
            for name, files in netns.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


# -- folders ---------------------------------------------------------------------------------------


def _refresh(
    paths: LabPaths, wanted: Mapping[str, Files], last: Mapping[str, Files] | None = None
) -> None:
    """Rewrite what is unpacked and says something else; remove the folders of netns that go.

    What is as it was written `last` is not looked at.
    """
    if not paths.etc.is_dir():
        return
    for path in paths.etc.iterdir():
        if path.name not in wanted:
            shutil.rmtree(path, ignore_errors=True)
            continue
        if last is not None and wanted[path.name] == last.get(path.name):
            continue
        for name, text in wanted[path.name].items():
            if not (path / name).exists() or (path / name).read_bytes() != text.encode():
                write_private(path / name, text)


def _unpack(path: Path, files: Files) -> None:
    """Make the folder under another name first: nobody shall see half of it.

    The name is the thread's: verify asks from many threads at once.
    """
    made = path.with_name(f".{path.name}.{threading.get_native_id()}")
    ensure_folder(made)
    for name, text in files.items():
        write_private(made / name, text)
    try:
        made.rename(path)
    except OSError:  # another was as quick
        shutil.rmtree(made, ignore_errors=True)
        if not path.is_dir():
            raise
