"""The chart of the part `fanout`: bars, as an SVG for light and dark backgrounds."""

from collections.abc import Sequence
from html import escape
from math import log10
from typing import Final

from tests.bench.report.figures import Figure
from tests.bench.report.machine import Facts

WIDTH: Final = 760
LEFT: Final = 210
BAR: Final = 18
ROW: Final = 24
GAP: Final = 14
HEAD: Final = 40
SPACE: Final = WIDTH - LEFT - 90

WORKLOADS: Final = {
    "W1": "1 room × 200, 50 chunks/s",
    "W2": "100 rooms × 5, 30 chunks/s each",
    "W3": "1 room × 1,000, 50 chunks/s",
}
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.small{font-size:11px;fill:#57606a}"
    ".head{font-weight:600}.ours{fill:#c2452d}.other{fill:#9aa4af}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9da7b1}"
    ".ours{fill:#e5694f}.other{fill:#6e7781}}"
)


def draw(figures: Sequence[Figure], facts: Facts) -> str:
    """Return the chart as SVG, without the bars of figures that could not be measured."""
    found = {figure.name: figure for figure in figures}
    body, height = [], 12
    for title, kind, other in (
        ("Server CPU per streamed chunk, in ms (logarithmic)", "chunk", "tutorial"),
        ("Server CPU per delivered frame, in µs", "frame", "bare limit"),
    ):
        bars = [
            (workload, server, found.get(f"{workload} CPU per {kind}, {server}"))
            for workload in WORKLOADS
            for server in (other, "Maru")
        ]
        drawn, taken = _panel(title, bars, logarithmic=kind == "chunk", top=height)
        body.append(drawn)
        height += taken
    where = f"{facts['cores']} cores, {facts['model']}, Python {facts['python']}, {facts['date']}"
    body.append(f'<text class="small" x="12" y="{height}">{escape(where)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height + 14}" '
        f'viewBox="0 0 {WIDTH} {height + 14}" role="img"><title>Cost of fan-out</title>'
        f"<style>{_STYLE}</style>{''.join(body)}</svg>\n"
    )


def _panel(
    title: str, bars: Sequence[tuple[str, str, Figure | None]], *, logarithmic: bool, top: int
) -> tuple[str, int]:
    """Return the SVG elements of a panel and its height."""
    values = [figure.value for _workload, _server, figure in bars if figure and figure.value]
    longest, shortest = max(values, default=1), min(values, default=1)
    elements, y = [f'<text class="head" x="12" y="{top + 16}">{escape(title)}</text>'], top + HEAD
    for workload, server, figure in bars:
        if server != "Maru":
            elements.append(f'<text x="12" y="{y + 13}">{workload}</text>')
        else:
            label = escape(WORKLOADS[workload])
            elements.append(f'<text class="small" x="12" y="{y + 5}">{label}</text>')
        if figure is not None and figure.value:
            share = figure.value / longest
            if logarithmic:  # the shortest bar gets a tenth of the space
                span = log10(longest / shortest) or 1
                share = 0.1 + 0.9 * log10(figure.value / shortest) / span
            elements.append(_bar(server, figure, y, share))
        y += ROW if server != "Maru" else ROW + GAP
    return "".join(elements), y - top + GAP


def _bar(server: str, figure: Figure, y: int, share: float) -> str:
    length = max(round(SPACE * share), 2)
    kind = "ours" if server == "Maru" else "other"
    text = escape(f"{server} {figure.value:.3g}")
    return (
        f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{length}" height="{BAR}" rx="2"/>'
        f'<text class="small" x="{LEFT + length + 6}" y="{y + 13}">{text}</text>'
    )
