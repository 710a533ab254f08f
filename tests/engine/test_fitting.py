"""Which objects can be had together: whoever is innocent stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from kns.engine.fitting import fit, reborn_pods
from kns.kinds.common import Object
from kns.kinds.objects import Ref, ref_of, text


def item(name: str, value: str = "", kind: str = "Service", uid: str = "") -> Object:
    meta: Object = {"name": name, "namespace": "default", "uid": uid or name}
    return {"kind": kind, "metadata": meta, "value": value}


def by_ref(objects: Sequence[Object]) -> dict[Ref, Object]:
    return {ref_of(each): each for each in objects}


def make(objects: Mapping[Ref, Object]) -> list[str]:
    """A cluster without anything bad, and with room for two that want room."""
    values = [text(each, "value") for each in objects.values()]
    if "bad" in values or values.count("room") > 2:
        raise ValueError("no")
    return [text(each, "metadata", "name") for each in objects.values()]


def test_the_bad_one_is_found_among_many() -> None:
    objects = [item(f"s{n}", "bad" if n in {13, 50} else "") for n in range(100)]
    calls: list[int] = []

    def counted(some: Mapping[Ref, Object]) -> list[str]:
        calls.append(len(some))
        return make(some)

    found = fit(by_ref(objects), {ref_of(each) for each in objects[5:]}, {}, counted)
    assert found.refused.keys() == {ref_of(objects[13]), ref_of(objects[50])}
    assert found.made == [f"s{n}" for n in range(100) if n not in {13, 50}]
    assert len(calls) < 35


def test_who_came_first_has_the_room() -> None:
    objects = [item(name, "room") for name in ("a", "b", "c", "d")]
    suspects = {ref_of(each) for each in objects[1:]}
    found = fit(by_ref(objects), suspects, {}, make)
    assert found.made == ["a", "b"]
    assert set(found.refused) == {ref_of(objects[2]), ref_of(objects[3])}
    # once there is room again, the next has it
    again = fit(by_ref(objects[1:]), set(found.refused), found.objects, make)
    assert again.made == ["b", "c"]


def test_at_a_start_nobody_is_known_to_be_good() -> None:
    objects = [item("n1", kind="Node"), *(item(name, "room") for name in ("a", "b", "c"))]
    found = fit(by_ref(objects), (), {}, make)
    assert found.made == ["n1", "a", "b"]
    assert set(found.refused) == {ref_of(objects[3])}


def test_what_was_good_stays_as_it_was() -> None:
    before = item("n1", "good", "Node")
    now = item("n1", "bad", "Node")
    found = fit(by_ref([now, item("a")]), {ref_of(now)}, {ref_of(before): before}, make)
    assert found.objects[ref_of(now)] is before
    assert found.made == ["n1", "a"]
    assert found.refused.keys() == {ref_of(now)}


def test_one_that_was_made_again_is_another() -> None:
    now = item("a", "bad", uid="other")
    found = fit(by_ref([now]), {ref_of(now)}, {ref_of(now): item("a")}, make)
    assert found.made == []


def test_where_nothing_can_be_had_it_says_so() -> None:
    with pytest.raises(ValueError, match="no"):
        fit(by_ref([item("n1", "bad", "Node")]), (), {}, make)


def test_a_pod_of_the_same_name_is_another_one() -> None:
    before = {ref_of(each): each for each in (item("a", kind="Pod"), item("b", kind="Pod"))}
    changed, another = item("a", "new", kind="Pod"), item("b", kind="Pod", uid="c")
    items = {ref_of(each): each for each in (changed, another, item("c", kind="Pod"))}
    assert reborn_pods(items, before) == {ref_of(another)}
