"""The results as a table for people, and as JSON and Markdown files."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.bench.report import machine
from tests.bench.report.figures import Figure
from tests.bench.report.machine import Facts, Noise

HEADINGS: Final = ("part", "figure", "measured", "goal", "verdict", "rounds")


@dataclass(frozen=True)
class Part:
    """The figures of one part, the noise of the machine during the part, and its duration."""

    name: str
    figures: Sequence[Figure]
    noise: Noise
    seconds: float
    quick: bool = False


def as_table(facts: Facts, parts: Sequence[Part]) -> str:
    """Return the facts, the figures, the notes and the noise as text."""
    rows = [HEADINGS, *(_row(part.name, figure) for part in parts for figure in part.figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"{f.name}: {f.note}" for part in parts for f in part.figures if f.note]
    return "\n".join([_head(facts), "", *lines, "", *notes, *_noise(parts)])


def write_part(folder: Path, facts: Facts, parts: Sequence[Part]) -> None:
    """Write the last of the parts of a run as NAME.json and NAME.md.

    The others are the scale of its noise: the fastest loop of the run.
    """
    part, noise = parts[-1], parts[-1].noise.reasons(_best(parts))
    document = {
        "part": part.name,
        "quick": part.quick,
        "seconds": round(part.seconds, 1),
        "machine": facts,
        "noise_rule": machine.NOISE_RULE,
        **asdict(part.noise),
        "noise": noise,
        "figures": [
            {**asdict(figure), "missed": figure.missed, "verdict": figure.verdict}
            for figure in part.figures
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (folder / f"{part.name}.json").write_text(f"{text}\n", encoding="utf-8")
    (folder / f"{part.name}.md").write_text(_as_markdown(facts, part, noise), encoding="utf-8")


def _as_markdown(facts: Facts, part: Part, noise: Sequence[str]) -> str:
    quick = " --quick" if part.quick else ""
    rows = [_row(part.name, figure)[1:] for figure in part.figures]
    notes = [f"- {figure.name}: {figure.note}" for figure in part.figures if figure.note]
    return "\n".join(
        [
            f"# {part.name}",
            "",
            f"`python -m tests.bench {part.name}{quick}` in {part.seconds:.0f} s: {_head(facts)}.",
            f"Noise: {', '.join(noise) or 'none'}.",
            "",
            f"| {' | '.join(HEADINGS[1:])} |",
            f"|{' --- |' * len(HEADINGS[1:])}",
            *(f"| {' | '.join(row)} |" for row in rows),
            *(["", *notes] if notes else []),
            "",
        ]
    )


def _head(facts: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


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


def _noise(parts: Sequence[Part]) -> list[str]:
    best = _best(parts)
    noisy = {part.name: part.noise.reasons(best) for part in parts}
    found = [f"NOISY {name}: {', '.join(reasons)}" for name, reasons in noisy.items() if reasons]
    return ["", machine.NOISE_RULE, *(found or ["No part was noisy."])]


def _best(parts: Sequence[Part]) -> float:
    return min(loop for part in parts for loop in (part.noise.before, part.noise.after))
