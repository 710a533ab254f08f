"""Words of kubectl's tables: ages, labels, and what stands for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

NONE = "<none>"


def labels_text(labels: Mapping[str, str]) -> str:
    """`key=value`, sorted, with commas; kubectl's `<none>` for no label."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


def age_text(seconds: float) -> str:
    """kubectl's AGE, as apimachinery's HumanDuration writes it: `42s`, `5m10s`, `3h2m`, `2d`."""
    total = max(int(seconds), 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two_units(minutes, "m", total % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _two_units(days, "d", hours % 24, "h") if days < 8 else f"{days}d"


def _two_units(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def since(stamp: str, now: float) -> str:
    """How long ago a time of an object was; `<unknown>` for none."""
    try:
        return age_text(now - datetime.fromisoformat(stamp).timestamp())
    except ValueError:
        return "<unknown>"
