"""docs/releases.md: every difference of kube-proxy's releases, and the tests that show it."""

from __future__ import annotations

import ast
import re

import pytest

from kns.compile.proxy.release import SINCE, ReleaseChange
from tests.end_to_end.test_release_traffic import DIFFERENCES
from tests.readme_console import PROJECT

TEXT = (PROJECT / "docs/releases.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| (.*?) *\|$", re.MULTILINE)
DIFFERENT, PROVED = (
    {int(number): cells.split(" | ") for number, cells in ROW.findall(part)}
    for part in TEXT.split("## How each is proved")
)
TRAFFIC = "end_to_end/test_release_traffic.py::test_connection_ends_otherwise"
#: the number of each; those that structures of the nftables table are, 1 to 9, have none
NUMBERS = {
    10: ReleaseChange.NODE_PORTS_WITHOUT_ADDRESS,
    11: ReleaseChange.FIREWALL_ELEMENTS_WITHOUT_COMMENT,
    12: ReleaseChange.ANY_SOURCE,
    13: ReleaseChange.INTERFACES_BY_NAME,
    14: ReleaseChange.SERVICE_CIDRS,
    15: ReleaseChange.HINTS_WITHOUT_ANNOTATION,
    16: ReleaseChange.NODE_HINTS,
    17: ReleaseChange.LIVING_ENDPOINTS_FIRST,
    18: ReleaseChange.CANONICAL_ADDRESSES,
    19: ReleaseChange.EXTERNAL_IPS_GATE,
    20: ReleaseChange.COMMENTS_CUT,
    21: ReleaseChange.PARTIAL_SYNC,
    22: ReleaseChange.UDP_RECONCILED,
    23: ReleaseChange.NO_EMPTY_CLUSTER_CIDR,
}
#: told in words: a part of number 22, and what is not of nftables mode or of rules
IN_WORDS = {
    ReleaseChange.UDP_WITHOUT_ENDPOINTS,
    ReleaseChange.NFACCT,
    ReleaseChange.ONE_MASQUERADE_ALL,
}


def proving(number: int) -> list[str]:
    return re.findall(r"`(.*?)`", PROVED[number][0])


def test_every_difference_is_there_and_proved() -> None:
    assert list(DIFFERENT) == list(PROVED) == list(range(1, 24))
    assert {*NUMBERS.values(), *IN_WORDS} == set(ReleaseChange)
    assert all(DIFFERENT[number][0] == SINCE[change] for number, change in NUMBERS.items())


@pytest.mark.parametrize("number", PROVED)
def test_its_tests_are_there(number: int) -> None:
    assert proving(number)
    for found in proving(number):
        file, _, name = found.partition("::")
        tree = ast.parse((PROJECT / "tests" / file).read_text(encoding="utf-8"))
        assert name in {part.name for part in tree.body if isinstance(part, ast.FunctionDef)}


@pytest.mark.parametrize("number", DIFFERENT)
def test_what_a_packet_tells_is_promised_told_by_migrate_and_tried(number: int) -> None:
    rooms = {found.partition("/")[0] for found in proving(number)}
    files = {found.partition("::")[0].partition("/")[2] for found in proving(number)}
    assert rooms & {"compile", "cli"}
    if DIFFERENT[number][3:] == ["yes"]:
        assert rooms & {"end_to_end", "kernel"}
        assert "test_migrate.py" in files
    assert (TRAFFIC in proving(number)) is (number in {item.number for item in DIFFERENCES})
