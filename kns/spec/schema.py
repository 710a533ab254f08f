"""The JSON schema of the Lab document, for completion and checks in editors."""

from __future__ import annotations

from kns.spec.model import LabSpec


def json_schema() -> dict[str, object]:
    """The schema, with the field names that a user writes."""
    schema = LabSpec.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "kns lab",
    }
