"""A running lab's objects, as `kns get` prints them, rendered: the same rules as on its nodes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.cli.main import main
from kns.compile.names import netns_of_node
from kns.kernel import processes
from kns.kernel.processes import Context
from kns.state.iptables import SAVE
from tests.compile.proxy.captured_iptables import Tables, comparable

pytestmark = pytest.mark.kernel

LABS = Path(__file__).parents[2] / "labs"
NAMES = ("service-types", "traffic-policies", "session-affinity")


@pytest.fixture(scope="module", params=NAMES)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab, up under a name of its own."""
    name = f"t-render-{uuid.uuid4().hex[:6]}"
    text = (LABS / f"{request.param}.yaml").read_text()
    file = tmp_path_factory.mktemp("lab") / "lab.yaml"
    file.write_text(text.replace(f"name: {request.param}}}", f"name: {name}}}"))
    assert main(["up", str(file)]) == 0
    try:
        yield name
    finally:
        assert main(["down", name]) == 0


def out(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    capfd.readouterr()
    assert main(list(arguments)) == 0
    return capfd.readouterr().out


def own(tables: Tables) -> Tables:
    """nat and filter without what flannel adds; canary chains are left out by the reader."""
    return {
        table: {
            chain: (policy, tuple(rule for rule in rules if "flannel" not in rule))
            for chain, (policy, rules) in tables[table].items()
            if not chain.startswith("FLANNEL-")
        }
        for table in ("nat", "filter")
    }


def test_objects_of_a_lab_render_to_the_rules_of_its_nodes(
    lab: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kinds = (("nodes",), ("services", "-A"), ("endpoints", "-A"))
    objects = tmp_path / "objects.json"
    objects.write_text("".join(out(capfd, "get", *kind, "-o", "json", "-l", lab) for kind in kinds))
    nodes = json.loads(out(capfd, "get", "nodes", "-o", "json", "-l", lab))["items"]
    cidrs = "10.244.0.0/16,fd00:10:244::/56"
    assert len(nodes) >= 2
    for node in (item["metadata"]["name"] for item in nodes):
        for family, program in SAVE.items():
            flags = ["--node", node, "--family", str(family).lower(), "--cluster-cidr", cidrs]
            rendered = out(capfd, "render", str(objects), *flags)
            saved = processes.run([program], context=Context(netns_of_node(lab, node)))
            assert own(comparable(saved.stdout, family)) == comparable(rendered, family), (
                f"{node} {family}"
            )
