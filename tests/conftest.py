"""A tier of tests in which everything was skipped has shown nothing: it fails.

`scripts/test` names the tier by KNS_TIER; without it pytest behaves as ever.

Tests marked ipvs, netem, dummy or sctp are skipped where the running kernel lacks that;
in the rig's VM they fail then, for the rig is there to have it.

A test of real packets that fails is carried out a second time before it counts, and is named at the
end: side by side with others, on few or emulated cores, an answer can come after its time-out.
"""

from __future__ import annotations

import os
import signal

import pytest
from _pytest.runner import runtestprotocol

from tests.vm import features

#: marks of the tests of real packets
PACKETS = ("kernel", "ipvs", "netem", "dummy", "sctp")
#: under which a report says what the first try has come to
FIRST_TRY = "first try"


def shows_nothing(config: pytest.Config) -> bool:
    """True if this run is a tier in which no test was carried out."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("KNS_TIER") or config.option.collectonly:
        return False
    if not isinstance(reporter, pytest.TerminalReporter):
        return False
    return not any(reporter.stats.get(outcome) for outcome in ("passed", "failed", "error"))


def pytest_configure() -> None:
    """Where a shell's `&` has us ignore SIGINT, the programs that tests interrupt would too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pages take minutes each: begun last, they would keep one process busy alone."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = features.reason_to_skip(mark.name for mark in item.iter_markers())
    if reason and features.required():
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not os.environ.get("KNS_TIER") or not any(map(item.get_closest_marker, PACKETS)):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    failed = next((report for report in reports if report.failed), None)
    if failed is not None and failed.when == "call":
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            report.user_properties.append((FIRST_TRY, failed.longreprtext))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for report in terminalreporter.stats.get("passed", ()):
        for name, text in getattr(report, "user_properties", ()):
            if name == FIRST_TRY and report.when == "call":
                terminalreporter.section(f"passed at the second try: {report.nodeid}", sep="-")
                terminalreporter.write_line(text)
    if shows_nothing(config):
        tier = os.environ["KNS_TIER"]
        terminalreporter.write_line(f"tier {tier}: no test ran, which counts as failed", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if shows_nothing(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
