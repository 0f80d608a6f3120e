"""Colours of text and borders keep the promised contrast ratios in both themes."""

import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).parents[2] / "static" / "css" / "base" / "tokens.css"
BACKGROUNDS = ("floor", "paper", "raised", "sunk", "hover", "selected")
PIGMENTS = ("noerok", "seokganju", "chija", "jaju", "cheonghoe", "meok")
WOODS = ("pine", "zelkova", "paulownia", "persimmon")

# The lowest contrast ratio of each kind in the light and the dark theme, to one decimal.
LOWEST = (
    (("text",), BACKGROUNDS, 11.9, 10.8),
    (("text-2",), BACKGROUNDS, 5.9, 6.6),
    (("text-3",), BACKGROUNDS, 4.7, 4.6),
    (("text-3",), ("paper",), 6.0, 5.9),
    (("ink",), BACKGROUNDS, 6.9, 6.6),
    (("on-ink",), ("ink", "ink-strong"), 9.3, 8.4),
    (("text", "ink"), ("ink-wash",), 7.0, 7.0),
    (("danger",), ("floor", "paper", "raised", "danger-wash"), 6.1, 6.9),
    (("ok", "warn"), ("floor", "paper", "raised"), 5.5, 7.0),
    (PIGMENTS, ("paper",), 6.1, 7.3),
    (("wood-text",), WOODS, 6.0, 6.0),
    (("line-field",), ("floor", "paper", "raised"), 3.2, 3.3),
)


def themes() -> dict[str, tuple[str, str]]:
    found = re.findall(
        r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", TOKENS.read_text()
    )
    return {name: (light, dark) for name, light, dark in found}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("words", "grounds", "light", "dark"), LOWEST)
def test_text_has_its_contrast_on_every_background(
    words: tuple[str, ...], grounds: tuple[str, ...], light: float, dark: float
) -> None:
    colours = themes()

    found = {
        (word, ground, theme): contrast(colours[word][theme], colours[ground][theme])
        for word in words
        for ground in grounds
        for theme in (0, 1)
    }

    low = {pair: ratio for pair, ratio in found.items() if ratio < (light, dark)[pair[2]] - 0.05}
    assert not low


def test_pattern_is_visible_on_its_tile() -> None:
    colours = themes()

    found = [
        contrast(colours["on-tile"][theme], colours[f"{pigment}-tile"][theme])
        for pigment in PIGMENTS
        for theme in (0, 1)
    ]

    assert min(found) >= 5.9 - 0.05


def test_contrast_of_known_colours_is_correct() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#888888") < 1.5
