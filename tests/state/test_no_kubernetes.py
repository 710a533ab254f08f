"""What speaks of the kernel alone knows no word of Kubernetes'."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kns

ROOM = Path(kns.__file__).parent
WORDS = re.compile(
    r"kube|flannel|endpoint ?slice|cluster|node ?port|(?<![a-z])pods?(?![a-z])", re.IGNORECASE
)


@pytest.mark.parametrize("room", ["state", "plan", "kernel"])
def test_a_room_of_the_kernels_has_no_word_of_kubernetes(room: str) -> None:
    files = sorted((ROOM / room).rglob("*.py"))
    assert len(files) > 3
    found = [
        f"{path.relative_to(ROOM)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if WORDS.search(line)
    ]
    assert found == []
