"""Prints the slowest files after the slowest tests. A plugin of the xdist controller."""

from collections import Counter

from _pytest.terminal import TerminalReporter

SHOWN = 40


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Sum the durations of setup, call and teardown of all tests in a file."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if sum(seconds.values()) > SHOWN:
        terminalreporter.section(f"slowest {SHOWN} files")
        for file, duration in seconds.most_common(SHOWN):
            terminalreporter.write_line(f"{duration:.1f}s {file}")
