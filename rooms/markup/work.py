"""A limit on the work of parsing one message, counted in steps.

A limit in seconds would show the same text in two ways, depending on the load of the machine.
"""

from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType

MAX_STEPS: Final = 5_000
"""About 10 microseconds each; ordinary Markdown of 16,000 characters needs about 3,800."""

MAX_OF_ONE_SIGN: Final = 1_000
"""The maximum of one sign in a paragraph: the parser compares each with all later ones."""

_SIGNS: Final = "[]()*_~`|<>&!$"
_KEY: Final = "steps"
_TOKENS: Final = "tokens"

_STEPS_OF_LINK: Final = 5
"""Each link is checked and normalized, and its host is shown."""


class TooMuchWork(Exception):
    """Parsing a text would need more than MAX_STEPS steps."""


def limited() -> EnvType:
    """Return the environment of one parse."""
    return {_KEY: MAX_STEPS}


def spend(env: EnvType, steps: int) -> None:
    """Count `steps`; raise TooMuchWork if they are more than the text has left."""
    env[_KEY] -= steps
    if env[_KEY] < 0:
        raise TooMuchWork


def limit_work(markdown: MarkdownIt) -> None:
    """Count each attempt of `markdown` to find a block in a line or an element in a paragraph.

    If there is no step left for a paragraph, its text is shown without formatting. If there is none
    left for the blocks, the parser raises TooMuchWork.
    """
    ends = ["paragraph", "reference", "blockquote", "list"]
    markdown.block.ruler.before("table", "count", _count_line, {"alt": ends})
    markdown.inline.ruler.before("newline", "count", _count_element)
    markdown.core.ruler.at("inline", _parse_paragraphs)


def _count_line(state: StateBlock, _start: int, _end: int, _silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    """Count one step, and one for every three tokens since the last line: they will be rendered."""
    made = len(state.tokens)
    spend(state.env, 1 + (made - state.env.get(_TOKENS, 0)) // 3)
    state.env[_TOKENS] = made
    return False


def _count_element(state: StateInline, _silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    spend(state.env, 1)
    return False


def _parse_paragraphs(state: StateCore) -> None:
    for block in state.tokens:
        if block.type != "inline":
            continue
        block.children = []
        try:
            spend(state.env, 1)
            if any(block.content.count(sign) > MAX_OF_ONE_SIGN for sign in _SIGNS):
                raise TooMuchWork
            state.md.inline.parse(block.content, state.md, state.env, block.children)
            links = sum(token.type == "link_open" for token in block.children)
            spend(state.env, len(block.children) // 2 + _STEPS_OF_LINK * links)
        except TooMuchWork:
            block.children = _lines(block.content)


def _lines(text: str) -> list[Token]:
    first, *others = text.split("\n")
    made = [Token("text", "", 0, content=first)]
    for other in others:
        made += [Token("softbreak", "br", 0), Token("text", "", 0, content=other)]
    return made
