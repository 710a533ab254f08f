"""docs/lab-file.md, its fields written from the schema:  .venv/bin/python -m tests.lab_file_doc"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kns.kinds.schema import lab_schema
from tests.readme_console import PROJECT

FILE = PROJECT / "docs/lab-file.md"
#: what stands before it in the page is written by hand
MARK = "<!-- From here on written from the schema: python -m tests.lab_file_doc -->"
#: the root has no name of its own in the schema
ROOT = "Lab"


def document() -> str:
    """The whole page."""
    schema: dict[str, Any] = lab_schema()
    sections = [(ROOT, schema), *sorted(schema["$defs"].items(), key=lambda item: item[0])]
    by_hand, mark, _ = FILE.read_text(encoding="utf-8").partition(MARK)
    lines = [f"{by_hand}{mark}\n"]
    for name, model in sections:
        lines += section(name, model)
    return "\n".join(lines) + "\n"


def section(name: str, model: dict[str, Any]) -> Iterator[str]:
    """A heading, what the object is, and its fields."""
    yield f"## {name.removesuffix('Spec')}\n"
    yield model.get("description", "").replace("\n", " ").replace("  ", " ") + "\n"
    yield "| field | value | default |"
    yield "| --- | --- | --- |"
    required = set(model.get("required", ()))
    for field, rule in model.get("properties", {}).items():
        default = rule.get("default", {})
        shown = "required" if field in required else f"`{json.dumps(default)}`"
        if field not in required and default is None:
            shown = "unset"
        yield f"| `{field}` | {kind(rule)} | {shown} |"
    yield ""


def kind(rule: dict[str, Any]) -> str:
    """The values that a field takes, in words."""
    for key in ("anyOf", "oneOf"):
        if key in rule:
            kinds = [kind(item) for item in rule[key] if item.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "$ref" in rule:
        name = rule["$ref"].rpartition("/")[2].removesuffix("Spec")
        return f"[{name}](#{name.lower()})"
    if "const" in rule:
        return f"`{rule['const']}`"
    if "enum" in rule:
        return ", ".join(f"`{value}`" if value else "empty" for value in rule["enum"])
    match rule.get("type"):
        case "array":
            return f"list of {kind(rule.get('items', {}))}" if "items" in rule else "list"
        case "object":
            return "map of strings"
        case "integer" if "minimum" in rule:
            return f"{rule['minimum']} to {rule['maximum']}"
        case str(name):
            return name
        case _:
            return "any"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
