"""`ThinkTagFilter`: thoughts before the answer are removed, and nothing else."""

import time

import pytest

from agents.engine.stream.think_tags import MAX_HELD, MAX_TAGS, ThinkTagFilter
from tests.deadlines import scaled

# The text of a model, and the answer in it, if the whole text arrives within the hold.
TEXTS = {
    "<think>secret</think>\n\nHello": "Hello",
    "<think>secret</think>Hello": "Hello",
    "\n <think>\nsecret\n</think>\nHello": "Hello",
    "<THINK>secret</Think>Hello": "Hello",
    "<think></think>Hello": "Hello",
    "<think>a</think>\n<think>b</think>\nHello": "Hello",
    "<thinking>a</thinking><thought>b</thought>Hello": "Hello",
    "<think>a <thinking> b</think>Hello": "Hello",
    "<think>a < b </ think </thin</think>Hello": "Hello",
    "<think>say `</think>` last</think>Hello": "Hello",
    "<seed:think>a</seed:think>Hello": "Hello",
    "[THINK]a[/THINK]Hello": "Hello",
    "◁think▷a◁/think▷Hello": "Hello",
    "<|START_THINKING|>a<|END_THINKING|>Hello": "Hello",
    "<|channel|>analysis<|message|>a<|end|><|channel|>final<|message|>Hello": "Hello",
    "<think>never ends": "",
    "<think>": "",
    # Only an end tag: the template of the prompt has opened the thoughts.
    "secret\n</think>\n\nHello": "Hello",
    "secret</think>Hello": "Hello",
    "</think>\n\nHello": "Hello",
    "use `</think>` to stop</think>Hello": "Hello",
    "secret</think>\n</think>Hello": "Hello",
    "secret</think><think>more</think>Hello": "Hello",
    # No thoughts.
    "Hello": "Hello",
    "\n Hello \n": "\n Hello \n",
    " \n": " \n",
    "": "",
    "<": "<",
    "<thin": "<thin",
    "<thinly> sliced": "<thinly> sliced",
    "<b>bold</b>": "<b>bold</b>",
    "Hello <think>later</think>, again <think>": "Hello <think>later</think>, again <think>",
    "`<think>` opens thoughts": "`<think>` opens thoughts",
    "`<think>` and `</think>` are tags": "`<think>` and `</think>` are tags",
    "```\n<think>a</think>\n```\n": "```\n<think>a</think>\n```\n",
    "~~~\n</think>\n~~~\n": "~~~\n</think>\n~~~\n",
    "    <think>code</think>": "    <think>code</think>",
    "\t<think>code</think>": "\t<think>code</think>",
    "<think>secret</think>Hello </think> `<think>`": "Hello </think> `<think>`",
}


def answer(text: str, size: int, *, hold_ends_after: int | None = None) -> str:
    """Return the answer in a text that arrives in pieces; optionally end the hold after some."""
    thoughts = ThinkTagFilter()
    shown = ""
    for number, start in enumerate(range(0, len(text), size)):
        if number == hold_ends_after:
            shown += thoughts.end_hold()
        shown += thoughts.feed(text[start : start + size])
    return shown + thoughts.finish()


@pytest.mark.parametrize("text", TEXTS)
def test_the_answer_is_the_same_for_every_size_of_the_pieces(text: str) -> None:
    for size in (1, 2, 3, 7, 1_000):
        assert answer(text, size) == TEXTS[text], size


@pytest.mark.parametrize(
    "text", [text for text in TEXTS if "secret" in text or "Hello" not in text]
)
def test_without_a_hold_only_thoughts_with_a_start_tag_are_removed(text: str) -> None:
    orphan = text.startswith(("secret", "use"))

    for size in (1, 3, 1_000):
        assert answer(text, size, hold_ends_after=0) == (text if orphan else TEXTS[text])


def test_text_that_is_held_is_shown_when_the_hold_ends() -> None:
    thoughts = ThinkTagFilter()

    assert thoughts.feed("Hel") == ""
    assert thoughts.holds
    assert thoughts.end_hold() == "Hel"
    assert thoughts.feed("lo") == "lo"


@pytest.mark.parametrize("text", [" ", "\n\n", "<thi", "<think>secret"])
def test_the_end_of_the_hold_shows_no_beginning_of_a_tag(text: str) -> None:
    thoughts = ThinkTagFilter()
    thoughts.feed(text)

    assert not thoughts.holds
    assert thoughts.end_hold() == ""


def test_held_text_is_bounded() -> None:
    thoughts = ThinkTagFilter(hold_seconds=None)

    shown = "".join(thoughts.feed("word " * 100) for _ in range(MAX_HELD // 100))

    assert shown == "word " * (MAX_HELD // 100 * 100)


@pytest.mark.parametrize("size", [1_000, MAX_HELD * 2])
def test_an_end_tag_is_searched_in_the_text_that_may_be_held_only(size: int) -> None:
    thoughts = "word " * (MAX_HELD // 5 + 1) + "</think>"

    assert answer(thoughts + "Hello", size) == thoughts + "Hello"
    assert answer("<think>" + thoughts + "Hello", size) == "Hello"


@pytest.mark.parametrize("size", [7, 1_000, 100_000])
def test_a_bounded_number_of_tags_is_removed(size: int) -> None:
    pair = "<think></think>"

    assert answer(pair * (MAX_TAGS + 2) + "Hello", size) == pair * 2 + "Hello"


@pytest.mark.parametrize("piece", [" \n", "\n", " ", "\t", "ab", "`", "</", "<think", "</think "])
@pytest.mark.parametrize("begin", ["", "a", "<think>", "<think>a</think>"])
def test_no_text_takes_quadratic_time(begin: str, piece: str) -> None:
    """100,000 pieces take less than a second, most of them far less; quadratic time takes many."""
    thoughts = ThinkTagFilter()
    thoughts.feed(begin)

    started_at = time.process_time()
    for _ in range(10_000):
        thoughts.feed(piece)
    thoughts.feed(piece * 90_000)
    thoughts.finish()

    assert time.process_time() - started_at < scaled(1)


def test_thoughts_without_an_end_take_no_memory() -> None:
    thoughts = ThinkTagFilter()
    thoughts.feed("<think>")

    for _ in range(1_000):
        thoughts.feed("word " * 100)

    assert len(thoughts._held) < 1_000


@pytest.mark.parametrize(
    ("text", "late"),
    [
        ("secret\n</think>\n\nHello", True),
        ("the tag </think> ends thoughts", False),
        ("`</think>`\n", False),
        ("a" + " " * 99 + "</think>\n", False),
        ("</think>\n", True),
        ("\n" * 1_000 + "</think>\n", True),
        ("<think>a</think>\nb\n</think>\n", False),
        ("Hello", False),
    ],
)
def test_an_end_tag_after_the_hold_is_noticed(text: str, *, late: bool) -> None:
    for size in (1, 3, 1_000):
        thoughts = ThinkTagFilter()
        thoughts.end_hold()
        for start in range(0, len(text), size):
            thoughts.feed(text[start : start + size])

        assert thoughts.has_orphan_end == late


def test_a_model_that_begins_with_thoughts_is_held_until_the_end_tag() -> None:
    thoughts = ThinkTagFilter(hold_seconds=None)

    shown = [
        thoughts.feed(text) for text in ("secret ", "thoughts\n", "</think>", "\n\nHello", " you")
    ]

    assert "".join(shown) == "Hello you"
    assert shown[-1] == " you"
