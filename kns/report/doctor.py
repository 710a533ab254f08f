"""`kns doctor`: the facts about this machine as text and as JSON."""

from __future__ import annotations

import dataclasses

from kns.engine.doctor import AREAS, Diagnosis
from kns.engine.facts import Fact
from kns.engine.real_proxy import AREA
from kns.report.table import Table, render_table
from kns.state.requirements import Need


def doctor_text(diagnosis: Diagnosis, width: int | None = None) -> str:
    """A table for each area, then what to do about what is missing, the required first."""
    parts = [_area_text(area, diagnosis, width) for area in AREAS]
    parts = [part for part in parts if part]
    missing = [fact for fact in diagnosis.facts if not fact.ok]
    required = [fact for fact in missing if fact.need is Need.REQUIRED]
    optional = [f for f in missing if f.need is Need.OPTIONAL and f.area != AREA]
    of_a_real_one = [fact for fact in missing if fact.area == AREA]
    if required:
        parts.append("To mend, needed by every lab:\n" + _mend_text(required))
    if optional:
        parts.append("To mend, needed by some labs only:\n" + _mend_text(optional))
    if of_a_real_one:
        parts.append(
            "To mend, for a kube-proxy that runs on this machine itself; no lab needs it:\n"
            + _mend_text(of_a_real_one)
        )
    parts.append(_verdict(required))
    return "\n".join(parts)


def _area_text(area: str, diagnosis: Diagnosis, width: int | None) -> str:
    rows = tuple(
        (_mark(fact), fact.name, fact.found, fact.use)
        for fact in diagnosis.facts
        if fact.area == area
    )
    return render_table(Table(("", area.upper(), "FOUND", "FOR"), rows), width) if rows else ""


def _mark(fact: Fact) -> str:
    if fact.ok:
        return "ok"
    return "MISSING" if fact.need is Need.REQUIRED else "-"


def _mend_text(facts: list[Fact]) -> str:
    return "".join(f"  {fact.name}: {fact.mend}\n" for fact in facts)


def _verdict(required: list[Fact]) -> str:
    if not required:
        return "This machine can run labs in kube-proxy's default mode (iptables).\n"
    names = ", ".join(fact.name for fact in required)
    return f"This machine can't run labs yet: {names}.\n"


def doctor_json(diagnosis: Diagnosis) -> dict[str, object]:
    """`{"ok", "facts": [{"area", "name", "need", "ok", "use", "found", "mend"}]}`."""
    return {
        "ok": diagnosis.ok,
        "facts": [dataclasses.asdict(fact) for fact in diagnosis.facts],
    }
