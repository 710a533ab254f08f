"""Plain values as YAML text."""

from __future__ import annotations

import yaml


def dump_yaml(value: object) -> str:
    """The value as one YAML document, keys in their own order, as kubectl prints it."""
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False, allow_unicode=True)
