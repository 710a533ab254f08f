"""Where the shared material lies: captured rules and vectors beside a checkout, if present."""

from __future__ import annotations

from pathlib import Path

import pytest

#: the folder beside the checkout
SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the shared folder with captured rules is not beside this checkout"
)
