"""The rulesets that the real kube-proxy left, read and written again: nothing is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kns.state.nft import parse_tables, table_text
from tests.kube_proxy_cases import CASES

RELEASES = ("1.30", "1.34", "1.36", "1.37")
_ELEMENTS = re.compile(r"elements = \{\s*(.*?)\s*\}\n", re.DOTALL)


def lines(text: str) -> list[str]:
    """What the text says, whatever the order of its blocks and elements."""

    def joined(found: re.Match[str]) -> str:
        elements = sorted(item.strip() for item in found[1].split(",\n"))
        return f"elements = {{ {', '.join(elements)} }}\n"

    found = (line.strip() for line in _ELEMENTS.sub(joined, text).splitlines())
    return sorted(line for line in found if line)


@pytest.mark.parametrize("release", RELEASES)
def test_captured_rulesets_are_written_as_they_were_read(release: str) -> None:
    files: list[Path] = sorted(CASES.glob(f"*/nftables/{release}/**/ruleset.nft"))
    assert len(files) > 30
    for file in files:
        text = file.read_text()
        tables = parse_tables(text)
        written = "".join(map(table_text, tables))
        assert parse_tables(written) == tables, file
        assert lines(written) == lines(text), file
