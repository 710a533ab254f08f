"""`kns verify` as JUnit XML: one suite a path, one case a check, what was left out as skipped.

Also for a run that never came to its checks: a suite with the error, so that a CI system shows why
instead of "no tests found".
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import groupby

from kns.probe.verify import CheckResult, VerifyReport

#: what XML 1.0 can't hold, not even escaped
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: VerifyReport) -> str:
    """The report as a document."""
    root = _root(
        tests=len(report.checks) + len(report.skips),
        failures=report.failed,
        skipped=len(report.skips),
        seconds=report.seconds,
    )
    for path, group in groupby(report.checks, key=lambda check: check.path):
        _suite(root, path, tuple(group))
    if report.skips:
        suite = ET.SubElement(
            root, "testsuite", name="left out", tests=str(len(report.skips)), failures="0",
            errors="0", skipped=str(len(report.skips)), time="0.000",
        )  # fmt: skip
        for skip in report.skips:
            case = ET.SubElement(suite, "testcase", classname="left out", name=_clean(skip.what))
            ET.SubElement(case, "skipped", message=_clean(f"{skip.count}: {skip.reason}"))
    return _text(root)


def junit_error(name: str, error: BaseException) -> str:
    """A document with one error: the set-up failed, no check was made."""
    root = _root(tests=1, errors=1)
    suite = ET.SubElement(
        root, "testsuite", name="set-up", tests="1", failures="0", errors="1", skipped="0"
    )
    case = ET.SubElement(suite, "testcase", classname="set-up", name=_clean(name), time="0.000")
    said = str(error) or type(error).__name__
    hint = str(getattr(error, "hint", ""))
    detail = ET.SubElement(case, "error", message=_clean(said), type=type(error).__name__)
    detail.text = _clean(f"{said}\nhint: {hint}" if hint else said)
    return _text(root)


def _root(
    *, tests: int, failures: int = 0, errors: int = 0, skipped: int = 0, seconds: float = 0.0
) -> ET.Element:
    return ET.Element(
        "testsuites",
        name="kns verify",
        tests=str(tests),
        failures=str(failures),
        errors=str(errors),
        skipped=str(skipped),
        time=f"{seconds:.3f}",
    )


def _suite(root: ET.Element, path: str, checks: tuple[CheckResult, ...]) -> None:
    suite = ET.SubElement(
        root,
        "testsuite",
        name=path,
        tests=str(len(checks)),
        failures=str(sum(not check.ok for check in checks)),
        errors="0",
        skipped="0",
        time=f"{sum(check.seconds for check in checks):.3f}",
    )
    for check in checks:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=path,
            name=_clean(check.id),
            time=f"{check.seconds:.3f}",
        )
        evidence = f"expected: {check.expected}\nactual: {check.actual}\nevidence: {check.evidence}"
        if check.ok:
            ET.SubElement(case, "system-out").text = _clean(evidence)
        else:
            failure = ET.SubElement(
                case, "failure", message=_clean(check.actual), type="BrokenPromise"
            )
            failure.text = _clean(f"{evidence}\nlook at: {check.advice}")


def _clean(text: str) -> str:
    return _ILLEGAL.sub("�", text)


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
