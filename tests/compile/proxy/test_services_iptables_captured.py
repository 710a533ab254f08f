"""`kns render` prints what the real kube-proxy left, in every captured case."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from kns.cli.render import command as render
from tests.compile.proxy.captured_iptables import NODE, SAVED, case_names, parse_save, states


def rendered(objects: str, flags: tuple[str, ...], family: str) -> str:
    arguments = ["-", "--node", NODE, "--family", family, *flags]
    result = CliRunner().invoke(render, arguments, input=objects, catch_exceptions=False)
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("case", case_names())
@pytest.mark.parametrize("family", SAVED)
def test_rendered_rules_equal_kube_proxys(case: str, family: str) -> None:
    for state in states(case):
        actual = parse_save(rendered(state.text, state.flags, family))
        assert actual == state.captured(family), state.label


def test_every_case_is_compared() -> None:
    """A reader that finds nothing would compare nothing."""
    assert len(case_names()) >= 32
    labels = [state.label for case in case_names() for state in states(case)]
    assert len(labels) == len(case_names()) + 5
