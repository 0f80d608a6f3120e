"""What is stored of texts of models and tools, and what people see of them."""

from agents.untrusted_text import plain, storable, visible

HIDDEN = "pay\u202e50\u2066\U000e0041\x07"


def test_stored_text_keeps_all_that_can_be_stored() -> None:
    assert storable(f"{HIDDEN}\x00\ud83d\r\n") == f"{HIDDEN}\N{REPLACEMENT CHARACTER}\r\n"


def test_read_text_has_no_characters_that_people_miss() -> None:
    assert plain(f"{HIDDEN}\x00\ud83d\r\n\tto all") == "pay50\N{REPLACEMENT CHARACTER}\n\tto all"


def test_decided_text_shows_each_of_its_characters() -> None:
    assert visible(HIDDEN) == "pay\\u202e50\\u2066\\u{e0041}\\u0007"
