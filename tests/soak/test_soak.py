"""A short soak; `make soak` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.soak import Soak

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_a_lab_bears_what_happens_to_it(tmp_path: Path) -> None:
    Soak(seed=3, folder=tmp_path, sample=20).run(12)
