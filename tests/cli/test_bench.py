"""What `kns bench` and `kns compare` refuse before they build anything."""

from __future__ import annotations

import click
import pytest

from kns.cli.bench import command, numbers, services
from kns.cli.compare import command as compare
from kns.cli.options import several_modes
from kns.errors import UsageError
from kns.kinds.networking import ProxyMode

CONTEXT = click.Context(command)
PARAMETER = services.params[0]


def test_numbers_are_sorted_and_each_taken_once() -> None:
    assert numbers(CONTEXT, PARAMETER, "100,1,10,1") == (1, 10, 100)


@pytest.mark.parametrize("text", ["", "a", "1,,2", "0", "-5", "1000000"])
def test_numbers_refuse(text: str) -> None:
    with pytest.raises(click.BadParameter):
        numbers(CONTEXT, PARAMETER, text)


def test_modes_keep_their_order() -> None:
    found = several_modes(CONTEXT, PARAMETER, "nftables,iptables,nftables")
    assert found == (ProxyMode.NFTABLES, ProxyMode.IPTABLES)


@pytest.mark.parametrize("text", ["", "ebpf", "iptables,"])
def test_modes_refuse(text: str) -> None:
    with pytest.raises(click.BadParameter):
        several_modes(CONTEXT, PARAMETER, text)


def test_modes_default_to_all_of_them() -> None:
    (option,) = [item for item in services.params if item.name == "modes"]
    assert several_modes(CONTEXT, PARAMETER, str(option.default)) == tuple(ProxyMode)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--proxy", "ebpf"], "no mode of kube-proxy is called 'ebpf'"),
        (["--proxy", "nftables@1.29"], "kns does not know kube-proxy 1.29"),
        (["--modes", "ipvs", "--proxy", "nftables@1.37"], "--modes and --proxy say the same"),
        (["--proxy", "nftables@1.37", "--modes", "ipvs"], "--modes and --proxy say the same"),
    ],
)
def test_compare_refuses_settings(arguments: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        compare.main(["lab.yaml", *arguments], standalone_mode=False)
