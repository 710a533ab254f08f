"""What a command has made of the faults of a lab, as text and as JSON."""

from __future__ import annotations

from kns.engine.faults import LabFaults
from kns.kinds.fault_words import fault_words


def faults_text(found: LabFaults) -> str:
    """A line for each change, then what is broken now."""
    broken = "; ".join(fault_words(found.faults))
    lines = [f"  {line}" for line in found.changes]
    lines.append(f"{found.lab}: {broken or 'nothing is broken on purpose'}")
    return "".join(f"{line}\n" for line in lines)


def faults_json(found: LabFaults) -> dict[str, object]:
    """`{"lab", "faults": as in the lab file, "changes": [line]}`."""
    return {
        "lab": found.lab,
        "faults": found.faults.to_document(),
        "changes": list(found.changes),
    }
