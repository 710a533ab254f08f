"""pyroute2: the installed release serves, and who doesn't touch the kernel never loads it."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2.netlink import ctrlmsg, nla, nlmsg, nlmsgerr
from pyroute2.netlink.generic.ipvs import ipvsmsg
from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg
from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg, nft_rule_msg, nft_table_msg
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.nsidmsg import nsidmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

KERNEL = Path(__file__).parents[2] / "kns" / "kernel"
LAB = Path(__file__).parents[2] / "labs" / "four-paths.yaml"
OBJECTS = Path(__file__).with_name("objects.yaml")
MESSAGES = (
    *(ifinfmsg, ifaddrmsg, rtmsg, ndmsg, fibmsg, nsidmsg),
    *(ctrlmsg, ipvsmsg, nfct_msg, nft_chain_msg, nft_rule_msg, nft_table_msg, nlmsgerr),
    *ifinfmsg.ifinfo.data_map.values(),
)
#: as they stand in kns.kernel, between quotes
NAME = re.compile(r'"((?:IFLA|IFA|RTA|NDA|FRA|NETNSA|CTA|IPVS|VETH|NFTA|CTRL|NLMSGERR)_\w+)"')


def attribute_names(kind: type[nlmsg] | type[nla]) -> Iterator[str]:
    """Those of a message or attribute and of all that is nested in it."""
    for row in getattr(kind, "nla_map", ()):
        yield row[1] if isinstance(row[0], int) else row[0]
    for base in inspect.getmro(kind):
        for inner in vars(base).values():
            if inspect.isclass(inner) and issubclass(inner, nla) and inner is not kind:
                yield from attribute_names(inner) if inner.__module__ != nla.__module__ else ()


def test_every_attribute_name_is_in_pyroute2s_tables() -> None:
    used = {name for file in KERNEL.glob("*.py") for name in NAME.findall(file.read_text())}
    known = {name for kind in MESSAGES for name in attribute_names(kind)}
    assert len(used) > 80
    assert used <= known


@pytest.mark.parametrize("file", sorted(KERNEL.glob("*.py")), ids=lambda file: file.stem)
def test_what_is_imported_of_it_is_there(file: Path) -> None:
    importlib.import_module(f"kns.kernel.{file.stem}")


#: by what it shows: a program that must not load pyroute2
PROGRAMS = {
    "help": "main(['--help'])",
    "validate": f"assert main(['validate', {str(LAB)!r}]) == 0",
    "render": f"assert main(['render', {str(OBJECTS)!r}, '--node', 'node1']) == 0",
    "probe": "main(['probe', 'pod1', 'pod2', '-l', 'no-such-lab']); import kns.probe.probe",
    "verify": "import kns.cli.verify, kns.probe.verify",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_command_that_touches_no_kernel_does_not_load_it(program: str) -> None:
    code = f"import sys; from kns.cli.main import main; {PROGRAMS[program]}; print(*sys.modules)"
    loaded = output_of(code).split()
    assert "kns.cli.main" in loaded
    assert not [name for name in loaded if name.startswith("pyroute2.")]


def output_of(code: str) -> str:
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("verb", ["up", "down", "status", "probe", "verify", "get"])
def test_command_loads_the_messages_alone(verb: str) -> None:
    loaded = output_of(f"import sys, kns.cli.{verb}; print(*sys.modules)").split()
    assert f"kns.cli.{verb}" in loaded
    assert not {"asyncio", "pyroute2.iproute", "pyroute2.ndb"} & set(loaded)


def test_package_is_whole_for_who_asks_it_for_a_name() -> None:
    code = """
import kns.kernel.links
import sys
before = "pyroute2.iproute" in sys.modules
from pyroute2 import netns
import pyroute2
submodule = "pyroute2.iproute" in sys.modules
print(before, submodule, netns.__name__, pyroute2.IPRoute.__name__, pyroute2.IPRoute is
      __import__("pyroute2.iproute").IPRoute, hasattr(pyroute2, "nothing"))
"""
    assert output_of(code).split() == [
        *("False", "False", "pyroute2.netns", "IPRoute", "True", "False"),
    ]
