"""Task lists, footnotes and formulas in messages."""

import pytest

from rooms.markup import render
from tests.rooms.markup.test_markup import Page


def test_task_has_a_box_in_the_place_of_its_marker() -> None:
    html = render("- [ ] open\n- [x] done\n- [y] text")

    assert '<li class="task"><span class="task-box">☐</span> open</li>' in html
    assert '<li class="task"><span class="task-box">☑</span> done</li>' in html
    assert "<li>[y] text</li>" in html
    assert "<ul>" in html


def test_numbered_task_keeps_its_number() -> None:
    assert '<li class="task" value="4">' in render("1. [ ] a\n4. [x] b")


def test_words_of_an_item_have_the_same_tags_in_every_list() -> None:
    assert render("- a\n- b").count("<li>") == render("- a\n\n- b").count("<li>") == 2
    assert "<p>" not in render("- a\n\n- b")
    assert "<li>a\n<p>b</p>\n</li>" in render("- a\n\n  b")


def test_note_stays_where_it_was_written_and_keeps_its_label() -> None:
    html = render("Claim[^1] or[^note].\n\n[^1]: The **source**.\n[^note]: Words.\n\nBehind.")

    assert 'Claim<sup class="footnote-ref">1</sup> or<sup class="footnote-ref">note</sup>' in html
    assert '<p class="footnote"><sup class="footnote-label">1</sup> The <strong>source' in html
    assert html.index("Words.") < html.index("Behind.")


def test_label_without_a_note_is_text_unless_it_is_a_number() -> None:
    assert "[^abc]" in Page(render("`x` matches [^abc] here")).words
    assert '<sup class="footnote-ref">3</sup>' in render("cited[^3]")


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("so $a^2 + b^2 = c^2$.", "a^2 + b^2 = c^2"),
        ("$x$는 값", "x"),
        ("in $$y = 2$$ a line", "y = 2"),
        ("as \\( e^{i\\pi} \\) says", "e^{i\\pi}"),
        ("$5 \\times 3$", "5 \\times 3"),
        ("$\\text{speed of it}$", "\\text{speed of it}"),
    ],
)
def test_formula_in_a_line(text: str, formula: str) -> None:
    assert f'<span class="math">{formula}</span>' in render(text)


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $10",
        "US$3 or $4",
        "5$ and 10$",
        "costs $5, or 10$ more",
        "$HOME/$USER and $PATH",
        "$HOME or $5",
        "가격은 $5이고 3$",
        "\\$a\\$",
        "`$x$`",
        "$ x $",
        "[$x](https://a.example)",
        "$$",
    ],
)
def test_price_or_variable_is_no_formula(text: str) -> None:
    assert 'class="math"' not in render(text)


def test_block_of_a_formula_ends_with_its_marker() -> None:
    assert render("$$\na < b\n$$\nc") == '<div class="math">a &lt; b</div>\n<p>c</p>\n'
    assert '<div class="math">z^2</div>' in render("\\[\nz^2\n\\]")
    assert '<div class="math">x</div>' in render("text\n$$x$$")


def test_block_that_is_not_closed_is_text() -> None:
    assert render("$$ a\nb\n\nc$$") == "<p>$$ a<br>\nb</p>\n<p>c$$</p>\n"


def test_formula_note_and_task_contain_no_tags() -> None:
    for text in ("$<b>$", "$$\n<img src=x onerror=alert(1)>\n$$", "[^1]: <script>x</script>"):
        assert {tag for tag, _ in Page(render(text)).tags} <= {"p", "span", "div", "sup", "br"}
