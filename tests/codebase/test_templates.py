"""Templates: no inline script or style (CSP), and every icon is in the sprite."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))

_SCRIPT = re.compile(r"<script\b(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")", re.IGNORECASE)
_STYLE = re.compile(r"<style\b|[\s\"']style\s*=", re.IGNORECASE)
_HANDLER = re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE)
_ICON = re.compile(r"_icon\.html\"\s+with\s+(?:[^%]*?\s)?name=(\"[^\"]*\"|\S+)")


def inline_parts(markup: str) -> list[str]:
    return [
        found.group(0) for rule in (_SCRIPT, _STYLE, _HANDLER) for found in rule.finditer(markup)
    ]


def symbols() -> set[str]:
    return set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static" / "icons.svg").read_text()))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_has_inline_script_or_style(path: Path) -> None:
    assert inline_parts(path.read_text()) == []


@pytest.mark.parametrize(
    "markup",
    [
        "<script>go()</script>",
        '<p style="color: red">',
        "<style>p {}</style>",
        '<a href="#" onclick="go()">',
    ],
)
def test_inline_script_or_style_is_found(markup: str) -> None:
    assert inline_parts(markup)


def test_every_icon_named_in_a_template_is_in_the_sprite() -> None:
    known = symbols()

    unknown = {
        (path.name, name)
        for path in TEMPLATES
        for name in _ICON.findall(path.read_text())
        if name.startswith('"') and name.strip('"') not in known
    }

    assert not unknown


def test_every_icon_made_by_a_script_is_in_the_sprite() -> None:
    known = symbols()

    unknown = {
        (path.name, name)
        for path in (ROOT / "static").rglob("*.js")
        for name in re.findall(r"\bicon\(\"([^\"$]+)\"", path.read_text())
        if name not in known
    }

    assert not unknown


def test_every_pigment_and_lattice_of_a_persona_is_drawn() -> None:
    from agents.models import Lattice, Pigment

    tokens = (ROOT / "static" / "css" / "base" / "tokens.css").read_text()

    assert {f"lattice-{lattice}" for lattice in Lattice.values} <= symbols()
    assert all(f'[data-pigment="{pigment}"]' in tokens for pigment in Pigment.values)
