"""The figures in the documents are those of the results that a run of the bench has written."""

from pathlib import Path

import pytest

from tests.bench.report import chart, published


@pytest.mark.parametrize("document", published.BLOCKS, ids=lambda path: path.name)
def test_figures_of_a_document_are_those_of_the_results(document: Path) -> None:
    assert document.read_text(encoding="utf-8") == published.with_blocks(document)


def test_chart_shows_the_published_results() -> None:
    figures = list(published.figures("fanout").values())
    drawing = chart.draw(figures, published.load("fanout")["machine"])

    assert published.CHART.read_text(encoding="utf-8") == drawing


def test_model_is_within_20_percent_of_the_measured_loads() -> None:
    errors = {
        name: figure
        for name, figure in published.figures("capacity").items()
        if name.startswith("error of the model")
    }

    assert len(errors) == 3
    assert not [name for name, figure in errors.items() if figure.missed]
