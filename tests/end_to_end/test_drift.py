"""What somebody changes by hand in a lab is seen, mended, and nothing else is touched.

The changes of a kind are made together: each must be named by `status`, and after one `up` all
that the tools show is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kns.compile.names import lab_prefix
from kns.engine.down import down
from kns.engine.status import status
from kns.engine.up import up
from kns.kernel.processes import Context, run
from tests.end_to_end.labfiles import leftovers, small_lab, write_lab
from tests.end_to_end.portrait import Portrait, differences, portrait

pytestmark = pytest.mark.kernel


class Change(NamedTuple):
    """A change in the netns of `place` by a shell command; `seen` is in its line of drift."""

    place: str
    command: str
    seen: str


def read_changes() -> dict[str, list[Change]]:
    """The table, by kind."""
    found: dict[str, list[Change]] = {}
    lines = (Path(__file__).parent / "drift.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith("["):
            found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            place, command, seen = line.split(" | ")
            found[next(reversed(found))].append(Change(place, command, seen))
    return found


CHANGES = read_changes()
#: the lab as it was built
PORTRAIT: Portrait = {}
LAB = "drifttest"
NETWORK = "ipFamily: dual, podNetwork: vxlan, "


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    text = small_lab(LAB, pods=3, nodes=2).replace("networking: {", f"networking: {{{NETWORK}")
    path = write_lab(tmp_path_factory.mktemp("drift"), text)
    up(path)
    assert status(LAB).healthy
    PORTRAIT.update(portrait(LAB))
    yield path
    down(LAB)
    assert leftovers(LAB) == {}


def test_the_table_is_large() -> None:
    assert sum(map(len, CHANGES.values())) >= 120


@pytest.mark.parametrize("kind", CHANGES)
def test_changes_by_hand_are_seen_and_mended(lab: Path, kind: str) -> None:
    for change in CHANGES[kind]:
        carry_out(change)
    drift = status(LAB).drift
    for change in CHANGES[kind]:
        assert any(
            line.startswith(f"{change.place}: ") and change.seen in line for line in drift
        ), (
            change,
            drift,
        )
    up(lab)
    assert differences(PORTRAIT, portrait(LAB)) == []
    assert up(lab).ops == ()
    assert status(LAB).healthy


def is_seen(change: Change, drift: tuple[str, ...]) -> bool:
    """True if a line of the drift names the change, at its place."""
    return any(line.startswith(f"{change.place}: ") and change.seen in line for line in drift)


def carry_out(change: Change) -> None:
    """Run the command in the place's netns."""
    context = Context(f"{lab_prefix(LAB)}{change.place}")
    done = run(["sh", "-ec", change.command], context=context, timeout=20)
    assert done.returncode == 0, (change, done.stderr)
