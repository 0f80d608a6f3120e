"""Whom a text mentions: the same handles for the chips, the personas that answer, the composer."""

import re
import unicodedata
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.markup import parse, render
from rooms.markup.mentions import MAX_CHIPS

HANDLES = [
    "봇",
    "bot",
    "bot-dev",
    "data_bot",
    "나리",
    "나리야",
    "gpt4o",
    "도우미",
    "たろう",
    "田中",
]

ALONE = [
    "@{}",
    "@{} 안녕",
    "안녕 @{}",
    "(@{})",
    "「@{}」",
    "@{}, @{}",
    "@{}!",
    "@{}...",
    '"@{}"',
    "@{}:",
]
KOREAN = [
    *[
        "님",
        "씨",
        "님께",
        "님께서는",
        "님들",
        "들은",
        "이",
        "가",
        "은",
        "는",
        "을",
        "를",
        "의",
        "도",
    ],
    *[
        "에게",
        "에게도",
        "에게만",
        "에게서만은",
        "한테도요",
        "께서만이",
        "로부터",
        "으로서",
        "와",
        "과의",
    ],
    *[
        "하고는",
        "이랑",
        "랑도",
        "처럼",
        "같이",
        "보다는",
        "대로",
        "만큼",
        "마다",
        "커녕",
        "는커녕",
        "까지도",
    ],
    *[
        "조차",
        "마저도",
        "부터라도",
        "밖에는",
        "뿐",
        "이나",
        "이라도",
        "이든지",
        "야말로",
        "아",
        "야",
        "여",
    ],
    *[
        "입니다",
        "입니까",
        "이에요",
        "예요",
        "이다",
        "이었다",
        "였다",
        "였는데요",
        "이었습니다",
        "이라고",
    ],
    *[
        "라고",
        "라는",
        "이라면",
        "라면서요",
        "라서",
        "이니까",
        "인데",
        "인가요",
        "일까요",
        "이네요",
        "이죠",
    ],
    *[
        "이며",
        "이지만",
        "이거든요",
        "이셨습니다",
        "까지입니다",
        "뿐이에요",
        "에게였어요",
        "님이십니다",
    ],
    *["ㅋㅋ", "님ㅠㅠ", "이다."],
]
FOREIGN = ["你好", "は元気", "さん", "님아", "나라에서", "ё", "。", "、"]
# fmt: off
SILENT = [
    "`@{}`", "``a @{} b``", "```\n@{}\n```", "~~~\n@{}", "    @{} x", "> @{} said", "> - @{}",
    "- > @{}", "[@{}](https://a.example)", "[**@{}**](https://a.example)", "<mailto:a@{}.example>",
    "<a@{}.example>", "https://a.example/@{}", "https://a.example/?to=@{}", "\\@{}", "&#64;{}",
    "&commat;{}", "a.example/@{}", "mail@{}", "a@{}.example", "@{}.example", "@{}@mail.example",
    "@@{}", "@ {}", "@{}x9z", "@x{}", "안녕@{}",
]
MARKED = [
    "_@{}_ hi", "*@{}* hi", "**@{}**님", "***@{}***", "~~@{}~~", "__@{}__ hi", "# @{}", "- @{}",
    "1. a @{}", "|a|\n|-|\n|@{}|", "<b>@{}</b>", "<@{}>", "\\\\@{}", "> a\n\n@{}", "a\n@{}",
    "`a` @{}", "[a](https://a.example) @{}", "[x @{}", "**[@{}]**", "@{}\\_", "/@{}", "a/@{}",
]
# fmt: on


def mentioned(text: str) -> set[str]:
    return set(parse(text).in_room(lambda: HANDLES).mentioned)


def chips(html: str) -> list[str]:
    return [unescape(one) for one in re.findall(r'class="mention" data-handle="([^"]*)"', html)]


@pytest.mark.parametrize("frame", ALONE + MARKED)
def test_handle_is_mentioned_wherever_it_is_text(frame: str) -> None:
    for handle in HANDLES:
        assert mentioned(frame.format(handle, handle)) == {handle}, handle


@pytest.mark.parametrize("frame", SILENT)
def test_handle_in_code_quotes_links_and_words_is_not_mentioned(frame: str) -> None:
    for handle in ["bot", "나리", "봇"]:
        assert mentioned(frame.format(handle)) == set(), handle


@pytest.mark.parametrize("suffix", KOREAN)
def test_particles_and_forms_of_ida_may_follow_a_handle(suffix: str) -> None:
    for handle in ["bot", "봇", "도우미", "gpt4o"]:
        for text in (f"@{handle}{suffix}", f"**@{handle}**{suffix}", f"@{handle}{suffix} 그래"):
            assert mentioned(text) == {handle}, text


@pytest.mark.parametrize("suffix", FOREIGN)
def test_letters_of_another_script_end_an_ascii_handle(suffix: str) -> None:
    for handle in ["bot", "bot-dev", "data_bot", "gpt4o"]:
        assert mentioned(f"@{handle}{suffix}") == {handle}


@pytest.mark.parametrize("word", ["마루", "꽃", "도랑", "나라", "2", "x", "-x", "_x", "만들기"])
def test_longer_word_is_not_mentioned(word: str) -> None:
    assert mentioned(f"@나리{word}") == set()


def test_longer_ascii_word_is_not_mentioned() -> None:
    for text in ["@botanist", "@bot2", "@bot_x", "@bot-x", "@boté", "@gpt4o-mini", "@data_bots"]:
        assert mentioned(text) == set(), text


def test_longest_known_handle_is_mentioned() -> None:
    assert mentioned("@나리야") == {"나리야"}
    assert mentioned("@나리야는") == {"나리야"}
    assert mentioned("@나리는") == {"나리"}
    assert mentioned("@bot-dev님") == {"bot-dev"}
    assert mentioned("@bot-") == {"bot"}


def test_ending_that_joins_the_last_syllable_keeps_the_mention() -> None:
    assert mentioned("@나립니다") == {"나리"}
    assert mentioned("@도우민데요") == {"도우미"}
    assert mentioned("@나린") == set()


def test_japanese_and_chinese_handles_take_honorifics_and_particles() -> None:
    for text in ["@田中さん", "@田中様、", "@たろうくんは", "請@田中さん"]:
        assert len(mentioned(text)) == 1, text
    assert mentioned("@田中角栄") == set()


def test_mentions_may_follow_each_other_without_a_space() -> None:
    assert mentioned("@bot/@나리") == {"bot", "나리"}
    assert mentioned("@bot@나리님@봇") == {"bot", "나리", "봇"}


def test_escaped_letters_of_a_handle_are_letters() -> None:
    assert mentioned("@data\\_bot go") == {"data_bot"}
    assert mentioned("@bot\\-dev") == {"bot-dev"}
    assert mentioned("@data_bot_ go") == {"data_bot"}


def wide(text: str) -> str:
    """Return `text` with full-width forms for ASCII characters."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


@pytest.mark.parametrize("handle", HANDLES)
def test_every_form_of_the_letters_is_the_same_handle(handle: str) -> None:
    forms = {handle, handle.upper(), wide(handle), unicodedata.normalize("NFD", handle)}

    for form in forms:
        for sign in "@＠﹫":
            assert mentioned(f"{sign}{form} 안녕") == {handle}
    assert mentioned(unicodedata.normalize("NFD", "@나리에게도")) == {"나리"}


def test_chip_shows_the_mention_as_written_and_the_rest_outside() -> None:
    html = render("＠ＢＯＴ님 & @나리에게 <b>", HANDLES)

    assert '<span class="mention" data-handle="bot">＠ＢＯＴ</span>님 &amp; ' in html
    assert '<span class="mention" data-handle="나리">@나리</span>에게 &lt;b&gt;' in html


def test_text_that_looks_like_a_chip_is_none() -> None:
    for text in ['<span class="mention" data-handle="bot">@x</span>', 'data-handle="bot"']:
        assert mentioned(text) == set()
        assert "<span" not in render(text, HANDLES)


def test_number_of_chips_is_bounded() -> None:
    rendered = parse("@bot " * (MAX_CHIPS + 1) + "@나리").in_room(lambda: HANDLES)

    assert len(chips(rendered.html)) == MAX_CHIPS
    assert rendered.mentioned == ("bot",)


PIECES = ["@bot", "@나리", "@data_bot", "에게", " ", "\n", "`", "```\n", "> ", "*", "_", "~~", "\\"]
PIECES += [
    "[",
    "](https://a.example)",
    "<",
    ">",
    "|",
    "- ",
    "    ",
    "https://b.example",
    "(",
    ")",
    ".",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_mentioned_handles_are_those_of_the_chips(text: str) -> None:
    rendered = parse(text).in_room(lambda: HANDLES)

    assert rendered.mentioned == tuple(dict.fromkeys(chips(rendered.html)))
    inside = r'<(code|a|blockquote)\b[^>]*>(?:(?!</\1>).)*class="mention"'
    assert not re.search(inside, rendered.html, re.DOTALL)
