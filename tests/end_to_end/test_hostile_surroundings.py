"""Where kns keeps its things, there is something else: each command says so, and what to do."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import KNS, lab_text

pytestmark = pytest.mark.kernel

THROWAWAY = Path(__file__).parents[2] / "scripts" / "in-throwaway"
LAB = "hostiletest"
VERBS = (
    f"status {LAB}",
    "ls",
    "probe pod1 pod2",
    f"verify {LAB}",
    "exec pod1 -- true",
    "up lab.yaml",
    f"down {LAB}",
)
UP = f"{shlex.join(KNS)} up lab.yaml"
ETC = f"/run/kns/{LAB}/etc.json"
#: every text is one that no file of a netns can have
WRONG_TYPES = f"""{shlex.quote(sys.executable)} -c '
import json
etc = json.load(open("{ETC}"))
etc["texts"] = [TEXT for text in etc["texts"]]
json.dump(etc, open("{ETC}", "w"))'"""

BEFORE = {
    "a file": ("echo x >/run/kns", "/run/kns is not a folder"),
    "a link to nothing": ("ln -s /nowhere /run/kns", "/run/kns is a link to nothing"),
    "a folder for all": ("mkdir -m 777 /run/kns", "/run/kns can be written by other users"),
    "a folder of another": (
        "mkdir -m 700 /run/kns; chown 1234 /run/kns",
        "/run/kns belongs to user 1234",
    ),
    "a lock that is a folder": (
        f"mkdir -m 700 -p /run/kns; mkdir /run/kns/.{LAB}.lock",
        f".{LAB}.lock is a folder",
    ),
    "a lock that is a link": (
        f"mkdir -m 700 -p /run/kns; ln -s /nowhere/x /run/kns/.{LAB}.lock",
        f".{LAB}.lock is a link",
    ),
    "a file in place of netns": ("echo x >/run/netns", "/run/netns is not a folder"),
}
DURING = {
    "a copy of bytes": (f"head -c 300 /dev/urandom >/run/kns/{LAB}/lab.yaml", "are damaged"),
    "texts of numbers": (WRONG_TYPES.replace("TEXT", "7"), ""),
    # without the agent, which mends its own files as it goes
    "variables of a wrong type": (
        f"kill $(cat /run/kns/{LAB}/agent.pid); " + WRONG_TYPES.replace("TEXT", '"[1, 2]"'),
        "is damaged",
    ),
}


def run(spoil: str, folder: Path) -> tuple[dict[str, int], str]:
    """What each verb exits with, and all that was said, after the shell's line."""
    (folder / "lab.yaml").write_text(lab_text(LAB), encoding="utf-8")
    each = "\n".join(f"{shlex.join(KNS)} {verb}; echo 'CODE' $?" for verb in VERBS)
    done = subprocess.run(
        [str(THROWAWAY), "sh", "-c", f"{spoil}\n{each}"],
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(THROWAWAY.parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    codes = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("CODE ")]
    return dict(zip((verb.split()[0] for verb in VERBS), codes, strict=True)), done.stdout


@pytest.mark.parametrize("what", BEFORE)
def test_lab_is_refused_where_its_place_is_taken(what: str, tmp_path: Path) -> None:
    spoil, said = BEFORE[what]
    codes, output = run(spoil, tmp_path)
    assert 70 not in codes.values(), output
    assert "Traceback" not in output
    assert (codes["up"], said in output) == (3, True), output
    assert "hint: " in output[output.index(said) :]


@pytest.mark.parametrize("what", DURING)
def test_up_mends_a_lab_whose_files_are_spoilt(what: str, tmp_path: Path) -> None:
    spoil, said = DURING[what]
    codes, output = run(f"{UP}\n{spoil}", tmp_path)
    assert 70 not in codes.values(), output
    assert "Traceback" not in output
    assert said in output
    assert (codes["up"], codes["down"]) == (0, 0), output


def test_variables_of_a_wrong_type_are_written_anew(tmp_path: Path) -> None:
    spoil = WRONG_TYPES.replace("TEXT", '"[1, 2]"')
    again = f"{UP}\n{spoil}\n{UP}"
    codes, output = run(again, tmp_path)
    assert set(codes.values()) == {0}, output
