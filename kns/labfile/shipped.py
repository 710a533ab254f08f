"""The labs that come with kns: `labs/` of the checkout, `kns/labs/` of an installed wheel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import kns

_PACKAGE = Path(kns.__file__).parent
#: in the wheel, and in a checkout
_FOLDERS = (_PACKAGE / "labs", _PACKAGE.parent / "labs")
#: a full stop, or the colon before a list
_SENTENCE_END = re.compile(r"\.(?=\s|$)|:(?=\n|$)")


@dataclass(frozen=True, slots=True)
class ShippedLab:
    """A lab that comes with kns. `about` is the first sentence of the file."""

    name: str
    about: str
    path: Path


def shipped_labs() -> tuple[ShippedLab, ...]:
    """All of them, by name."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    paths = sorted(folder.glob("*.yaml")) if folder else ()
    return tuple(ShippedLab(path.stem, _first_sentence(path), path) for path in paths)


def shipped_lab(name: str) -> ShippedLab | None:
    """The lab of this name; None if there is none."""
    return next((lab for lab in shipped_labs() if lab.name == name), None)


def _first_sentence(path: Path) -> str:
    text = re.match(r"(?:#.*\n)*", path.read_text(encoding="utf-8"))
    comment = re.sub(r"^# ?", "", text[0] if text else "", flags=re.MULTILINE)
    end = _SENTENCE_END.search(comment)
    return " ".join(comment[: end.start() if end else None].split())
