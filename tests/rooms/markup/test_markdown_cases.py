"""The cases of the page's Markdown parser have the HTML that the server makes today."""

from tests.rooms.markup.markdown_cases import FILE, cases


def test_cases_of_the_page_are_current() -> None:
    """On failure run `python -m tests.rooms.markup.markdown_cases` and `node --test tests/js/`."""
    assert FILE.read_text(encoding="utf-8") == cases()
