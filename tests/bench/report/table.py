"""The results as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.bench.report import machine
from tests.bench.report.figures import Figure
from tests.bench.report.machine import Noise

HEADINGS: Final = ("part", "figure", "measured", "goal", "verdict", "rounds")


@dataclass(frozen=True)
class Part:
    """The figures of one part, and the noise of the machine during the part."""

    name: str
    figures: Sequence[Figure]
    noise: Noise


def as_table(facts: dict[str, str | int | float], parts: Sequence[Part]) -> str:
    """Return the facts, the figures, the notes and the noise as text."""
    rows = [HEADINGS, *(_row(part.name, figure) for part in parts for figure in part.figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    head = ", ".join(f"{name} {value}" for name, value in facts.items())
    return "\n".join([head, "", *lines, "", *_notes(parts), *_noise(parts)])


def write_json(path: Path, facts: dict[str, str | int | float], parts: Sequence[Part]) -> None:
    """Write facts, parts and figures as JSON."""
    best = _best(parts)
    document = {
        "machine": facts,
        "noise_rule": machine.NOISE_RULE,
        "parts": [
            {
                "name": part.name,
                **asdict(part.noise),
                "noise": part.noise.reasons(best),
                "figures": [
                    {**asdict(figure), "missed": figure.missed, "verdict": figure.verdict}
                    for figure in part.figures
                ],
            }
            for part in parts
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _row(part: str, figure: Figure) -> tuple[str, ...]:
    value = figure.value
    return (
        part,
        figure.name,
        "" if value is None else figure.show(value),
        figure.limit,
        figure.verdict,
        " ".join(figure.show(number).split()[0] for number in figure.rounds),
    )


def _notes(parts: Sequence[Part]) -> list[str]:
    return [f"{f.name}: {f.note}" for part in parts for f in part.figures if f.note]


def _noise(parts: Sequence[Part]) -> list[str]:
    best = _best(parts)
    noisy = {part.name: part.noise.reasons(best) for part in parts}
    found = [f"NOISY {name}: {', '.join(reasons)}" for name, reasons in noisy.items() if reasons]
    return ["", machine.NOISE_RULE, *(found or ["No part was noisy."])]


def _best(parts: Sequence[Part]) -> float:
    return min(loop for part in parts for loop in (part.noise.before, part.noise.after))
