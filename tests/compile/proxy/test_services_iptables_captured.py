"""`kns render` prints what the real kube-proxies left, in every captured case."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from kns.addresses import IPFamily
from kns.cli.render import command as render
from tests.compile.proxy.captured_iptables import (
    NODE,
    RELEASES,
    case_names,
    comparable,
    states,
)


def rendered(objects: str, flags: tuple[str, ...], family: IPFamily) -> str:
    arguments = ["-", "--node", NODE, "--family", str(family).lower(), *flags]
    result = CliRunner().invoke(render, arguments, input=objects, catch_exceptions=False)
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize(
    ("release", "case"),
    [(release, case) for release in RELEASES for case in case_names(release)],
)
@pytest.mark.parametrize("family", IPFamily)
def test_rendered_rules_equal_kube_proxys(release: str, case: str, family: IPFamily) -> None:
    for state in states(case, release):
        actual = comparable(rendered(state.text, state.flags, family), family)
        assert actual == state.captured(family), state.label


def test_every_case_is_compared() -> None:
    """A reader that finds nothing would compare nothing."""
    assert len(case_names()) == 32
    assert len(case_names("1.36")) == 32 + 24
    labels = [state.label for case in case_names() for state in states(case)]
    assert len(labels) == len(case_names()) + 5
