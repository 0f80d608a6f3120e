"""Cleaning of names: invisible characters, imitated badges and bidirectional text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.names import MAX_NAME_LENGTH, clean_handle, clean_name, handle_for, initials


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("  Mina   Park ", "Mina Park"),
        ("Mina\nPark\t!", "Mina Park !"),
        ("Mina\u2028Park", "Mina Park"),
        ("Mina\u3000Park", "Mina Park"),
        ("이서준", "이서준"),
        (unicodedata.normalize("NFD", "이서준"), "이서준"),
        ("José", "José"),
        ("नमस्ते", "नमस्ते"),
        ("Ngô Thị Ánh", "Ngô Thị Ánh"),
        ("Zoë-Anne O’Neill", "Zoë-Anne O’Neill"),
    ],
)
def test_name_is_on_one_line(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    "hidden",
    [
        "\x00",
        "\x1b",
        "\u061c",
        "\u200b",
        "\u200d",
        "\u200e",
        "\u202e",
        "\u2066",
        "\u2069",
        "\ufeff",
        "\u00ad",
        "\U000e0041",
        "\ud800",
        "\ue000",
        "\u3164",
        "\uffa0",
        "\u2800",
        "\u034f",
        "\ufe0f",
        "\U000e0101",
    ],
)
def test_invisible_characters_are_removed(hidden: str) -> None:
    assert clean_name(f"Ga{hidden}ram") == "Garam"


@pytest.mark.parametrize(
    "badge",
    [
        "\U0001f130\U0001f138",  # squared A, squared I
        "\U0001f170\U0001f17e",  # negative squared letters
        "\u24b6\u24be",  # circled
        "\U0001f150\U0001f158",  # negative circled
        "\U0001f1e6\U0001f1ee",  # flag letters
        "\U0001f110\U0001f118",  # parenthesised
        "A\u20deI\u20de",  # letters under an enclosing square
        "\u3280",  # circled ideograph
        "\u3260",  # circled Hangul
        "\U0001f201",  # boxed kana
    ],
)
def test_boxed_and_circled_letters_are_removed(badge: str) -> None:
    assert clean_name(f"Garam {badge}").removesuffix(" AI") == "Garam"


def test_combining_marks_are_limited() -> None:
    assert clean_name("Z" + "\u0335" * 30) == "Z" + "\u0335" * 4


def test_name_without_visible_characters_is_empty() -> None:
    assert clean_name("\u200b\u202e \u3164 \U0001f170") == ""


def test_long_name_is_cut_without_a_trailing_space() -> None:
    assert clean_name("가" * 50) == "가" * MAX_NAME_LENGTH
    assert clean_name("a" * 39 + " b") == "a" * 39


@given(st.text(max_size=80))
def test_cleaning_is_idempotent(text: str) -> None:
    name = clean_name(text)

    assert clean_name(name) == name
    assert len(name) <= MAX_NAME_LENGTH
    assert name == " ".join(name.split())
    assert not any(unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Zl"} for one in name)


@pytest.mark.parametrize(
    ("name", "two", "one"),
    [
        ("이서준", "서준", "서"),
        ("김건", "김건", "김"),
        ("남궁민수", "민수", "민"),
        ("Hayun Kim", "HK", "HK"),
        ("elena maria rossi", "ER", "ER"),
        ("Mina", "M", "M"),
        ("", "", ""),
    ],
)
def test_initials_are_taken_from_the_name(name: str, two: str, one: str) -> None:
    assert initials(name) == two
    assert initials(name, max_letters=1) == one


@pytest.mark.parametrize(
    ("typed", "handle"),
    [
        ("garam", "garam"),
        (" @Garam ", "garam"),
        ("가람", "가람"),
        ("data-team_2", "data-team_2"),
        ("ＧＡＲＡＭ", "garam"),
        ("", ""),
        ("@", ""),
        ("-garam", ""),
        ("two words", ""),
        ("garam!", ""),
        ("gar\u200bam", ""),
        ("a" * 41, ""),
    ],
)
def test_handle_is_letters_digits_and_dashes_in_lower_case(typed: str, handle: str) -> None:
    assert clean_handle(typed) == handle


@pytest.mark.parametrize(
    ("name", "handle"),
    [("Data Team", "data-team"), ("가람", "가람"), ("O’Neill", "o-neill"), ("!!!", "")],
)
def test_handle_is_derived_from_a_name(name: str, handle: str) -> None:
    assert handle_for(name) == handle
