"""The lab file's JSON schema, which editors complete and check by."""

from __future__ import annotations

from kns.kinds import lab
from kns.labfile.reader import Definitions, Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def lab_schema() -> Schema:
    """The schema of the Lab document. It checks forms; what refers to what, `kns validate` does."""
    definitions: Definitions = {}
    whole = lab.SHAPE.own_schema(definitions)
    return {"$schema": DIALECT, "title": "kns lab file", "$defs": {**definitions}, **whole}
