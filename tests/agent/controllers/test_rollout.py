"""The arithmetic of a rollout, by tables."""

from __future__ import annotations

import pytest

from kns.agent.controllers import rollout
from kns.kinds.common import Object
from kns.labfile.reader import JSON


def deployment(replicas: int, surge: JSON = "25%", unavailable: JSON = "25%") -> Object:
    options: Object = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy: Object = {"type": "RollingUpdate", "rollingUpdate": options}
    return {"spec": {"replicas": replicas, "strategy": strategy}, "status": {}}


def replica_set(
    uid: str, replicas: int, available: int | None = None, maximum: int | None = None
) -> Object:
    annotations: Object = {} if maximum is None else {rollout.MAXIMUM: str(maximum)}
    return {
        "metadata": {"uid": uid, "annotations": annotations},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": replicas if available is None else available},
    }


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (4, "25%", "25%", (1, 1)),
        (3, "25%", "25%", (1, 0)),
        (10, "25%", "25%", (3, 2)),
        (10, 0, "5%", (0, 1)),
        (10, "0%", "0%", (0, 1)),
        (10, 2, 3, (2, 3)),
        (1, "100%", "50%", (1, 0)),
    ],
)
def test_resolve_fenceposts_rounds_surge_up_and_unavailable_down(
    replicas: int, surge: JSON, unavailable: JSON, expected: tuple[int, int]
) -> None:
    assert rollout.resolve_fenceposts(deployment(replicas, surge, unavailable)) == expected


def test_resolve_fenceposts_takes_25_percent_where_nothing_is_written() -> None:
    assert rollout.resolve_fenceposts({"spec": {"replicas": 8}}) == (2, 2)


def test_resolve_fenceposts_of_recreate_are_none() -> None:
    assert rollout.resolve_fenceposts({"spec": {"strategy": {"type": "Recreate"}}}) == (0, 0)


@pytest.mark.parametrize(
    ("replicas", "surge", "sizes", "expected"),
    [
        (10, 0, (10, 0), 0),
        (10, 2, (10, 0), 2),
        (10, 5, (5, 0), 10),
        (10, 2, (10, 2), 2),
        (10, 2, (8, 2), 4),
        (3, "25%", (3, 0), 1),
    ],
)
def test_new_size_grows_as_far_as_the_surge(
    replicas: int, surge: JSON, sizes: tuple[int, int], expected: int
) -> None:
    sets = [replica_set(str(index), size) for index, size in enumerate(sizes)]
    assert rollout.new_size(deployment(replicas, surge), sets, sizes[1]) == expected


@pytest.mark.parametrize(
    ("replicas", "unavailable", "old", "new", "expected"),
    [
        # as many as may be unavailable
        (10, 2, (10, 10), (0, 0), 8),
        # the new ones are up, so that all old ones may go
        (10, 0, (10, 10), (10, 10), 0),
        # none while the new ones are not available
        (10, 2, (8, 8), (2, 0), None),
        # those that are broken go first, and don't count
        (10, 2, (10, 8), (0, 0), 8),
        # new ones that never become available stop it
        (10, 2, (8, 7), (5, 0), None),
    ],
)
def test_old_sizes_keep_the_minimum_available(
    replicas: int,
    unavailable: int,
    old: tuple[int, int],
    new: tuple[int, int],
    expected: int | None,
) -> None:
    sizes = rollout.old_sizes(
        deployment(replicas, 3, unavailable), [replica_set("old", *old)], replica_set("new", *new)
    )
    assert sizes == ({} if expected is None else {"old": expected})


@pytest.mark.parametrize(
    ("wanted", "surge", "sizes", "maximum", "expected"),
    [
        # from 10 to 20 with 5 and 5: both double
        (20, 0, (5, 5), 10, (10, 10)),
        # what rounding leaves is the largest's
        (12, 0, (6, 4), 10, (7, 5)),
        (6, 0, (5, 5), 10, (3, 3)),
        # of two of one size the newer grows first, and the older shrinks first
        (11, 0, (5, 5), 10, (5, 6)),
        (9, 0, (5, 5), 10, (4, 5)),
        (0, 0, (5, 5), 10, (0, 0)),
    ],
)
def test_proportional_spreads_by_size(
    wanted: int,
    surge: int,
    sizes: tuple[int, int],
    maximum: int,
    expected: tuple[int, int],
) -> None:
    sets = [replica_set(str(index), size, maximum=maximum) for index, size in enumerate(sizes)]
    found = rollout.proportional(deployment(wanted, surge), sets)
    assert (found["0"], found["1"]) == expected
