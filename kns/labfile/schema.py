"""The lab file's JSON schema, which editors complete and check by."""

from __future__ import annotations

from typing import Any

from kns.labfile.model import LabSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def lab_schema() -> dict[str, Any]:
    """The schema of the Lab document. It checks forms; what refers to what, `kns validate` does."""
    schema = LabSpec.model_json_schema(by_alias=True, mode="validation")
    plain = _without_titles(schema)
    return {"$schema": DIALECT, "title": "kns lab file", **plain}


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """pydantic titles each field by its name, which tells an editor nothing."""
    return {
        key: _without_titles(value)
        if isinstance(value, dict)
        else [_without_titles(item) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else value
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
