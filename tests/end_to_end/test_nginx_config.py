"""nginx reads configurations that hold the worst text: in a netns, for it binds ports."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kns.cluster.model import Cluster
from kns.compile.programs.nginx import Folders, config
from kns.kernel import netns, processes
from kns.kernel.processes import Completed, Context
from kns.kinds.ingress import PathType
from tests.compile.programs.test_nginx import EVIL, controller, evil_cluster, with_paths

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def room() -> Iterator[str]:
    name = f"t-ingress-{uuid.uuid4().hex[:6]}"
    netns.prepare_folder()
    netns.in_thread(netns.create_here, name)
    try:
        yield name
    finally:
        netns.delete(name)


def nginx_test(room: str, cluster: Cluster, folder: Path) -> Completed:
    """`nginx -t`, without the certificates, which it would open."""
    text = config(cluster, controller(cluster), Folders(folder, folder))
    text = re.sub(r"\n +ssl_certificate(_key)? [^\n]*", "", text)
    file = folder / "nginx.conf"
    file.write_text(re.sub(r"(listen \S+) ssl", r"\1", text), encoding="utf-8")
    argv = ["nginx", "-t", "-e", "stderr", "-p", str(folder), "-c", str(file)]
    return processes.run(argv, context=Context(room))


#: the lab file's own checks keep control characters out
TEXTS = [item for item in EVIL if "\0" not in item]


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_nginx_takes_every_path(room: str, text: str, tmp_path: Path) -> None:
    cluster = with_paths(*((kind, f"/{text}") for kind in PathType))
    done = nginx_test(room, cluster, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_nginx_takes_the_text_anywhere(room: str, text: str, tmp_path: Path) -> None:
    """What is not sound is a name of one word, so the worst is a server that nobody asks for."""
    done = nginx_test(room, evil_cluster(text), tmp_path)
    assert done.returncode == 0, done.stderr


def test_nginx_takes_long_paths_and_hosts(room: str, tmp_path: Path) -> None:
    cluster = with_paths(*((kind, "/" + '"' * 1023) for kind in PathType))
    rules = tuple(
        replace(cluster.ingresses[0].rules[0], host=host)
        for host in (".".join(["a" * 62] * 4), "*." + ".".join(["b" * 60] * 4))
    )
    ingress = replace(cluster.ingresses[0], rules=rules)
    done = nginx_test(room, replace(cluster, ingresses=(ingress,)), tmp_path)
    assert done.returncode == 0, done.stderr
