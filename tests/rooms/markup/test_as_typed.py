"""Text keeps its characters, its numbers and its emphasis, also beside Korean and Chinese."""

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.names import is_blank
from rooms.markup import render
from rooms.markup.as_typed import MAX_CELLS
from tests.rooms.markup.test_markup import Page

# Emphasis

PUNCTUATED = [
    "마크다운(Markdown)",
    "「重要」",
    "“인용”",
    '"인용"',
    "100%",
    "굵게:",
    "정말!",
    "`x()`",
    "[a]",
]
PUNCTUATED += ["（全角）", "『書名』", "¥100", "#1", "(옛)", "a.b."]


@pytest.mark.parametrize("words", PUNCTUATED)
@pytest.mark.parametrize(("sign", "tag"), [("**", "strong"), ("~~", "s"), ("*", "em")])
def test_emphasis_closes_and_opens_beside_chinese_japanese_and_korean(
    words: str, sign: str, tag: str
) -> None:
    for before, after in [
        ("", "을"),
        ("것은 ", "이다"),
        ("これは", "です"),
        ("这是", "的"),
        ("는", ""),
    ]:
        html = render(f"{before}{sign}{words}{sign}{after}")
        shown = unescape(re.sub(r"</?code>", "", html))

        assert f"{before}<{tag}>{words.replace('`', '')}</{tag}>{after}" in shown


def test_emphasis_beside_decomposed_hangul_and_variants() -> None:
    assert "<strong>가(a)</strong>" in render("**가(a)**\u1102\u1161")
    assert "<strong>" in render("葛\U000e0100**(a)**葛")


def test_emphasis_in_other_scripts_is_that_of_commonmark() -> None:
    assert "<strong>" not in render("a**(b)**c")
    assert "<em>" not in render("snake_case_name and 2 * 3 * 4")


def test_emphasis_may_end_with_a_link() -> None:
    assert "</a> <bdi" in render("**이 [링크](https://example.kr/)**만")
    assert "</strong>만" in render("**이 [링크](https://example.kr/)**만")


# Addresses

ADDRESSES = {
    "https://www.example.com에서 찾기": "https://www.example.com",
    "https://www.example.com입니다": "https://www.example.com",
    "https://example.comです": "https://example.com",
    "https://example.com。": "https://example.com",
    "http://localhost:8000에서": "http://localhost:8000",
    "https://example.com:8443/a에 있다": "https://example.com:8443/a에",
    "(https://example.com/a)입니다": "https://example.com/a",
    "『https://example.com/a』": "https://example.com/a",
    "「https://example.com/a」を": "https://example.com/a",
    "https://example.com/a、https": "https://example.com/a",
    "（https://example.com/a）": "https://example.com/a",
    "“https://example.com/a”라고": "https://example.com/a",
    "[https://example.com/a]": "https://example.com/a",
    "https://example.com/a_(b)_c.": "https://example.com/a_(b)_c",
    "https://example.com/x_y_z and": "https://example.com/x_y_z",
    "https://example.com/__init__": "https://example.com/__init__",
    "https://example.com/*x*": "https://example.com/*x*",
    "https://example.com/~a~~b~~": "https://example.com/~a~~b~~",
    "**https://example.com/a**입니다": "https://example.com/a",
    "_https://example.com/a_b_": "https://example.com/a_b",
    "~~https://example.com/a~~": "https://example.com/a",
    "은**https://example.com/a**는": "https://example.com/a",
    "https://example.com/a\\_b": "https://example.com/a_b",
    "https://example.com/?a=1&amp;b=2": "https://example.com/?a=1&b=2",
    "&quot;https://example.com&quot;": "https://example.com",
    "https://example.com/마루": "https://example.com/마루",
    "https://한국.kr에서": "https://한국.kr",
    "https://naver쇼핑.com/a": "https://naver쇼핑.com/a",
    "https://www.例え.テスト/a": "https://www.例え.テスト/a",
    "http://10.0.0.1에서": "http://10.0.0.1",
    "http://[::1]:8000/a": "http://[::1]:8000/a",
    "https://example.com/a\u200b": "https://example.com/a",
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_address_ends_where_the_text_goes_on(text: str) -> None:
    html = render(text)

    (words,) = re.findall(r"<a [^>]*>(.*?)</a>", html)
    assert unescape(words) == ADDRESSES[text]
    assert Page(html).links[0]["href"]


def test_address_in_a_link_text_does_not_become_a_link() -> None:
    assert len(Page(render("[https://a.example/b](https://c.example)")).links) == 1


# Text that Markdown would hide or change


@pytest.mark.parametrize(
    "text", ["[TODO]: fix", "[공지]: 내일", "[1]: https://a.example", "[x]: <>"]
)
def test_definition_is_shown_as_typed(text: str) -> None:
    assert Page(render(text)).words.strip() == text


def test_numbers_of_a_list_are_shown_as_typed() -> None:
    html = render("1. ok\n2. fine\n4. four\n5. five")

    assert "<li>fine</li>\n" in html
    assert '<li value="4">four</li>\n<li>five</li>' in html
    assert '<ol start="3">\n<li>a</li>' in render("3. a")
    assert render("1. a\n1. b").count("value") == 1
    assert '<li value="7">' in render("1. a\n   - b\n7. c")


def test_break_tag_in_a_cell_is_a_line_break() -> None:
    html = render("| item | notes |\n|---|---|\n| one | a<br>b<BR />c `<br>` |")

    assert "<td>a<br>\nb<br>\nc <code>&lt;br&gt;</code></td>" in html
    assert "&lt;br&gt;" in render("a<br>b")


def test_line_below_a_text_makes_no_heading() -> None:
    assert "<h" not in render("안녕하세요\n===")
    assert "<h4" not in render("안녕\n---\n다음")


@pytest.mark.parametrize(
    "text",
    [
        "\\\\server\\share",
        "\\\\nas\\_old\\공유",
        "C:\\_tmp\\*.txt",
        "D:\\a\\b\\!c",
        "a \\\\ b",
        "(\\\\server\\-x)",
    ],
)
def test_backslashes_of_paths_are_kept(text: str) -> None:
    assert Page(render(text)).words.strip() == text


def test_backslash_still_escapes_markdown() -> None:
    assert Page(render("\\*a\\* \\_b\\_ \\[c\\]")).words.strip() == "*a* _b_ [c]"


def test_cells_beyond_the_head_of_a_table_are_shown() -> None:
    assert "3" in Page(render("|a|b|\n|-|-|\n|1|2|3|")).words


def test_table_behind_a_table_that_is_shown_as_text_is_a_table() -> None:
    too_wide = "|a|b|\n|-|-|\n" + "|1|2|\n" * 600 + "|1|2|3|\n\n"
    too_long = "|a|b|\n|-|-|\n" + "|1|2|\n" * (MAX_CELLS // 2) + "\n"

    for refused in (too_wide, too_long):
        assert render(refused + "|c|\n|-|\n|d|").count("<table>") == 1
        assert "<table>" not in render(refused)


def test_row_behind_the_end_of_a_table_does_not_change_the_table() -> None:
    for end in ("# x|y|z", "> x|y|z", "- x|y|z", "```\nx|y|z\n```"):
        html = render(f"a|b\n-|-\n1|2\n{end}")

        assert "<td>2</td>" in html
        assert "x|y|z" in html


def test_all_words_behind_a_code_fence_are_shown() -> None:
    assert "그냥 말이야" in Page(render("~~~ 그냥 말이야\n다음")).words


# A message shows something

# fmt: off
EMPTY = ["#", "- ", "> ", "1.", "```\n```", "~~~", "&nbsp;", "&#8203;", "[](javascript:a)", "[]()",
         "|\n|-|", "> #", "- - ", "\\", "** **", "*", "<>", "[x]:", "![]()", "``", "    \n#"]
# fmt: on


def shows_something(html: str) -> bool:
    return "<hr>" in html or not is_blank(Page(html).words)


@pytest.mark.parametrize("text", EMPTY)
def test_message_of_signs_shows_them(text: str) -> None:
    assert shows_something(render(text))


PIECES = [*"#->*_`~[]()<>|:\\&!=1. \n", "&nbsp;", "\u200b", "```", "[a]: ", "<br>", "    ", "가"]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=10).map("".join))
def test_message_that_is_not_blank_shows_something(text: str) -> None:
    assert is_blank(text) or shows_something(render(text)), text


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, "나", "a", "@"]), max_size=14).map("".join))
def test_every_letter_that_was_typed_is_shown(text: str) -> None:
    hidden = ("](", "&nbsp;", "<br>")  # the destination of a link, an entity, a break in a table
    if not any(one in text for one in hidden):
        typed = [letter for letter in text if letter in "가나a"]
        assert [letter for letter in Page(render(text)).words if letter in "가나a"] == typed
