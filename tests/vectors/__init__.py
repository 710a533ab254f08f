"""Upstream projects' own test cases as data; README.md says where each file is from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def read_vectors(name: str) -> dict[str, Any]:
    """The content of `NAME.json`."""
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text())
    return found
