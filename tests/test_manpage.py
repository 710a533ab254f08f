"""The man page is made from the commands' own help."""

from __future__ import annotations

import pytest

from kns.cli import registry
from scripts import manpage


@pytest.fixture(scope="module")
def page() -> str:
    return manpage.page().decode()


@pytest.mark.parametrize("name", registry.VERBS)
def test_each_command_has_a_section(page: str, name: str) -> None:
    assert f".SS kns {name} " in page


@pytest.mark.parametrize("name", ["policy matrix", "netem set", "rollout status"])
def test_commands_of_a_group_have_theirs(page: str, name: str) -> None:
    assert f".SS kns {name} " in page
