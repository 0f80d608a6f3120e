"""`SurrogateJoiner`: text that arrives in parts becomes storable."""

from agents.engine.stream.surrogates import SurrogateJoiner


def test_a_split_surrogate_pair_is_joined_and_a_lone_surrogate_replaced() -> None:
    joiner = SurrogateJoiner()

    texts = [joiner.feed(chunk) for chunk in ("a\ud83d", "\ude00b", "c\ud83d", "d\0", "\ud83d")]

    assert "".join([*texts, joiner.flush()]) == "a😀bc\ufffdd\ufffd\ufffd"
