"""The one door to YAML: a stream of documents as plain data, with the place of every value.

    bytes ─decode─▶ text ─libyaml events─▶ Document(data, marks)     one for each `---`

Data are dicts with string keys, lists, strings, ints, floats, booleans and None. Scalars follow
YAML 1.2's core schema, so `no`, `on` and `12:30` are strings. What can be read past (a key written
twice, a tag) becomes a `Problem` of the stream and reading goes on; what can't (a syntax error, a
size limit) ends it. No input raises anything but `SpecError`.

Events rather than PyYAML's `compose`: depth and size are limits that are met while reading, an
alias costs nothing, and plain data with marks beside it take half the time of a tree of node
objects. A place is looked up only where there is something to say of it (`kns.labfile.place`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from kns.errors import Problem, SpecError
from kns.labfile.document import TEMPLATE_HINT, Document, Mark, Marks, Stream, path_text
from kns.labfile.scalars import plain_value

try:
    from yaml._yaml import CParser as _Parser
except ImportError:  # PyYAML built without libyaml: the same events, some ten times slower
    from yaml import SafeLoader as _Parser  # type: ignore[assignment]

#: a production cluster's `kubectl get svc,endpointslices -o yaml` stays well below these
MAX_BYTES = 64 * 1024 * 1024
MAX_VALUES = 4_000_000
#: nothing of Kubernetes' is nested deeper than some 20
MAX_DEPTH = 100
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
#: values that aliases add; a billion-laughs file passes it at once
MAX_ALIASED = 200_000

_MERGE = "<<"
_TAGS = "tag:yaml.org,2002:"


def parse_documents(content: str | bytes, file: str) -> tuple[Document, ...]:
    """The documents of a stream, empty ones left out. Raises SpecError with every problem."""
    stream = parse_stream(content, file)
    if stream.problems:
        raise SpecError(stream.problems)
    return stream.documents


def parse_stream(content: str | bytes, file: str) -> Stream:
    """The documents that can be read, and what is wrong with the stream. Never raises."""
    text, problem = decoded(content, file)
    if problem:
        return Stream((), (problem,))
    reader = _Reader(file)
    stop: Problem | None = None
    try:
        for event in _events(text):
            reader.take(event)
    except _StopError as error:
        stop = error.problem
    except yaml.MarkedYAMLError as error:
        stop = _syntax_problem(error, file)
    except yaml.YAMLError as error:
        stop = _reader_problem(error, text, file)
    if stop is not None:
        reader.problems.append(_template_problem(text, stop) or stop)
    return Stream(tuple(reader.documents), tuple(reader.problems))


# -- text ------------------------------------------------------------------------------------------


def decoded(content: str | bytes, file: str) -> tuple[str, Problem | None]:
    """The text, or what keeps `content` from being one."""
    if len(content) > MAX_BYTES:
        return "", Problem(file, 0, 0, "", f"larger than {MAX_BYTES // 1024**2} MiB")
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "save the file as UTF-8"
        return "", Problem(file, 1, 1, "", "the file is UTF-16, not UTF-8", hint)
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    hint = "a lab file is YAML in UTF-8"
    if (position := raw.find(b"\0")) >= 0:
        line, column = _place(raw, position)
        return "", Problem(file, line, column, "", "NUL byte: this is not a text file", hint)
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError as error:
        line, column = _place(raw, error.start)
        message = f"byte 0x{raw[error.start]:02x} is not valid UTF-8"
        return "", Problem(file, line, column, "", message, hint)


def _place(raw: bytes, position: int) -> Mark:
    before = raw[:position]
    start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[start:].decode("utf-8", "replace")) + 1


def _events(text: str) -> Iterator[Event]:
    parser = _Parser(text)
    while parser.check_event():
        event = parser.get_event()
        if event is not None:
            yield event


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if error.problem == "exceeded maximum nesting depth":
        # PyYAML 6.0.4 and newer has a limit of its own, which its look-ahead meets before ours
        return Problem(file, line, column, "", _TOO_DEEP)
    message = f"not valid YAML: {error.problem or error.context}"
    if error.problem and error.context:
        message += f" ({error.context})"
    return Problem(file, line, column, "", message, _SYNTAX_HINTS.get(error.problem or "", ""))


_SYNTAX_HINTS = {
    "found character that cannot start any token": (
        "YAML takes no tabs for indentation, and values that begin with @ or ` need quotes"
    ),
    "could not find expected ':'": "is a `:` missing, or a quote or bracket not closed?",
    "did not find expected ',' or '}'": "a `{` is not closed, or a comma is missing",
    "did not find expected ',' or ']'": "a `[` is not closed, or a comma is missing",
    "did not find expected key": "check the indentation of this line",
    "did not find expected '-' indicator": "check the indentation of this line",
    "mapping values are not allowed in this context": (
        "check the indentation; a value that holds `: ` needs quotes"
    ),
}


def _reader_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """libyaml's reader gives a byte offset in UTF-8, and the character, in no mark."""
    position = getattr(error, "position", 0)
    reason = getattr(error, "reason", str(error))
    line, column = _place(text.encode(), position if isinstance(position, int) else 0)
    return Problem(file, line, column, "", f"not valid YAML: {reason}")


#: where an action of Go's text/template (Helm) or of Jinja begins a line, a value or an item
_ACTION = re.compile(r"""^[ \t]*(?:[^#\n]*?[:\[{,-][ \t]+)?(?:\{\{|\{%)""")


def _template_problem(text: str, stop: Problem) -> Problem | None:
    """What ended the reading, where a template's action is on its line or just above."""
    first = max(0, stop.line - 3)
    lines = text.splitlines()[first : stop.line]
    for number, line in enumerate(lines, first + 1):
        if found := _ACTION.match(line):
            message = f"this is a template: {stop.message}"
            return Problem(stop.file, number, found.end() - 1, "", message, TEMPLATE_HINT)
    return None


# -- events to data --------------------------------------------------------------------------------


class _StopError(Exception):
    """Reading can't go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(slots=True)
class _Frame:
    """A collection that is being read; `key` is the mapping key whose value comes next."""

    data: dict[str, object] | list[object]
    marks: Marks
    anchor: str | None
    size: int
    key: str | None = None
    key_mark: Mark = (0, 0)
    merges: list[tuple[object, Marks | Mark, Mark]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Anchored:
    """What `&anchor` names; `values` counts what an alias to it adds."""

    data: object
    marks: Marks | Mark
    values: int


class _Reader:
    """Builds documents from events without recursion, so that depth is a limit and no crash."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored] = {}
        self._values = 0
        self._aliased = 0

    def take(self, event: Event) -> None:
        """Read one event on."""
        if isinstance(event, ScalarEvent):
            self._scalar(event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._open(event)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._close()
        elif isinstance(event, AliasEvent):
            self._alias(event)
        elif isinstance(event, DocumentStartEvent):
            self._anchors = {}

    def _scalar(self, event: ScalarEvent) -> None:
        mark = _mark(event)
        self._values += 1
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and isinstance(frame.data, dict):
            self._key(frame, event.value, mark)
            return
        value = self._resolved(event, mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, mark, 1)
        self._put(value, mark)

    def _resolved(self, event: ScalarEvent, mark: Mark) -> object:
        tag = event.tag
        if tag is None:
            return plain_value(event.value) if event.implicit[0] else event.value
        if tag in {"!", f"{_TAGS}str"}:
            return event.value
        if tag in {f"{_TAGS}{name}" for name in ("int", "float", "bool", "null")}:
            return plain_value(event.value)
        self._unknown_tag(tag, mark)
        return event.value

    def _unknown_tag(self, tag: str, mark: Mark) -> None:
        text = tag.replace(_TAGS, "!!")
        hint = "write the plain value, without a tag"
        self._error(mark, f"the tag {text} is not supported", hint)

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        mark = _mark(event)
        self._values += 1
        is_mapping = isinstance(event, MappingStartEvent)
        if event.tag not in {None, "!", f"{_TAGS}{'map' if is_mapping else 'seq'}"}:
            self._unknown_tag(str(event.tag), mark)
        if len(self._stack) >= MAX_DEPTH:
            raise _StopError(self._problem(mark, _TOO_DEEP))
        if self._values > MAX_VALUES:
            raise _StopError(self._problem(mark, f"more than {MAX_VALUES} values"))
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.data, dict) and frame.key is None:
            raise _StopError(self._problem(mark, "a mapping key must be a string"))
        self._stack.append(
            _Frame({} if is_mapping else [], Marks(mark), event.anchor, self._values)
        )

    def _close(self) -> None:
        frame = self._stack.pop()
        for merge in frame.merges:
            self._merge(frame, *merge)
        if frame.anchor is not None:
            size = self._values - frame.size + 1
            self._anchors[frame.anchor] = _Anchored(frame.data, frame.marks, size)
        self._put(frame.data, frame.marks)

    def _alias(self, event: AliasEvent) -> None:
        mark = _mark(event)
        anchored = self._anchors.get(event.anchor or "")
        if anchored is None:
            inside = any(frame.anchor == event.anchor for frame in self._stack)
            message = (
                f"the alias *{event.anchor} refers to the value that it is part of"
                if inside
                else f"the alias *{event.anchor} refers to no anchor"
            )
            raise _StopError(self._problem(mark, message))
        self._values += anchored.values
        self._aliased += anchored.values
        if self._aliased > MAX_ALIASED:
            raise _StopError(self._problem(mark, f"aliases add more than {MAX_ALIASED} values"))
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.data, dict) and frame.key is None:
            if not isinstance(anchored.data, str):
                raise _StopError(self._problem(mark, "a mapping key must be a string"))
            self._key(frame, anchored.data, mark)
            return
        self._put(anchored.data, anchored.marks)

    def _key(self, frame: _Frame, key: str, mark: Mark) -> None:
        if key != _MERGE and key in frame.marks.keys:
            first = frame.marks.keys[key][0]
            message = f'the key "{key}" is already set on line {first}'
            self._error(mark, message, "keep one of the two")
        frame.key, frame.key_mark = key, mark

    def _put(self, value: object, marks: Marks | Mark) -> None:
        if not self._stack:
            if value is not None:
                self.documents.append(Document(self.file, value, marks))
            return
        frame = self._stack[-1]
        if isinstance(frame.data, list):
            frame.marks.values[len(frame.data)] = marks
            frame.data.append(value)
            return
        key, frame.key = frame.key or "", None
        if key == _MERGE:
            frame.merges.append((value, marks, frame.key_mark))
            return
        frame.data[key] = value
        frame.marks.keys[key] = frame.key_mark
        frame.marks.values[key] = marks

    def _merge(self, frame: _Frame, value: object, marks: Marks | Mark, key_mark: Mark) -> None:
        """YAML 1.1's `<<`: the keys of the merged mappings, where not set; the first one wins."""
        sources: list[tuple[object, Marks | Mark]] = [(value, marks)]
        if isinstance(value, list) and isinstance(marks, Marks):
            sources = [(item, marks.values[index]) for index, item in enumerate(value)]
        for source, source_marks in sources:
            if not isinstance(source, dict) or not isinstance(source_marks, Marks):
                self._error(key_mark, "<< takes a mapping or a list of mappings")
                continue
            for key, item in source.items():
                if isinstance(frame.data, dict) and key not in frame.data:
                    frame.data[key] = item
                    frame.marks.keys[key] = source_marks.keys[key]
                    frame.marks.values[key] = source_marks.values[key]

    def _error(self, mark: Mark, message: str, hint: str = "") -> None:
        self.problems.append(self._problem(mark, message, hint))

    def _problem(self, mark: Mark, message: str, hint: str = "") -> Problem:
        path: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.data, list):
                path.append(len(frame.data))
            elif frame.key is not None:
                path.append(frame.key)
        text = path_text(tuple(path)) if len(path) < MAX_DEPTH else ""
        return Problem(self.file, mark[0], mark[1], text, message, hint)


def _mark(event: Event) -> Mark:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
