"""What a soak does next follows from its seed, the number and the moment alone."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from unittest.mock import patch

import pytest

from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab
from tests.soak.operations import WEIGHTS, Moment, operations
from tests.vm import features

FILE = Path(__file__).with_name("lab.yaml")


@pytest.fixture
def moment(tmp_path: Path) -> Moment:
    cluster = resolve(load_lab(FILE).spec).cluster
    nothing: frozenset[str] = frozenset()
    return Moment(cluster, FILE, tmp_path, nothing, nothing, nothing)


def test_a_run_goes_on_from_any_operation(moment: Moment) -> None:
    with patch.object(features, "missing", lambda _: ""):
        whole = list(islice(operations(7, lambda: moment), 60))
        assert whole[40:] == list(islice(operations(7, lambda: moment, 41), 20))
        other = list(islice(operations(8, lambda: moment), 60))
    assert [number for number, _ in whole] == list(range(1, 61))
    assert whole != other
    verbs = {line[0] for _, line in whole}
    assert len(verbs) > len(WEIGHTS) / 2


def test_what_the_kernel_lacks_is_not_asked_of_it(moment: Moment) -> None:
    with patch.object(features, "missing", lambda _: "lacks it"):
        lines = [line for _, line in islice(operations(7, lambda: moment), 200)]
    impaired = [line for line in lines if line[0] == "netem"]
    assert impaired
    assert all("--rate" in line for line in impaired)
