"""Korean particles fit the word before them, in the same way as on the page."""

import json
from pathlib import Path
from typing import Any

import pytest

from accounts.particles import fill

CASES: list[Any] = json.loads((Path(__file__).parent / "particles.json").read_text())


@pytest.mark.parametrize(("sentence", "values", "expected"), CASES)
def test_particle_fits_the_last_syllable(
    sentence: str, values: dict[str, object], expected: str
) -> None:
    assert fill(sentence, values) == expected
