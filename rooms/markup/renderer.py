"""Renders the tokens of a message whose HTML differs from markdown-it's default."""

from collections.abc import Sequence
from html import escape

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from rooms.markup.code import file_and_language
from rooms.markup.mentions import ADDRESSED_CLOSE, ADDRESSED_OPEN


class MessageRenderer(RendererHTML):
    """markdown-it calls the method that has the name of the token's type."""

    def addressed(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"{ADDRESSED_OPEN}{escape(tokens[at].content)}{ADDRESSED_CLOSE}"

    def escaped_sign(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return escape(tokens[at].content)

    def link_host(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f' <bdi class="link-host">({escape(tokens[at].content)})</bdi>'

    def heading_open(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"<{_heading(tokens[at])}>"

    def heading_close(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"</{_heading(tokens[at])}>\n"

    def table_open(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return '<div class="table-scroll"><table>\n'

    def table_close(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
        return _cell(tokens[at])

    def td_open(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
        return _cell(tokens[at])

    def list_item_open(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        token = tokens[at]
        if "checked" not in token.meta:
            return self.renderToken(tokens, at, options, env)
        value = f' value="{token.attrs["value"]}"' if "value" in token.attrs else ""
        box = "☑" if token.meta["checked"] else "☐"
        return f'<li class="task"{value}><span class="task-box">{box}</span> '

    def formula(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
        return f'<span class="math">{escape(tokens[at].content)}</span>'

    def formula_block(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f'<div class="math">{escape(tokens[at].content)}</div>\n'

    def footnote_reference(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f'<sup class="footnote-ref">{escape(tokens[at].content)}</sup>'

    def footnote_open(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        label = escape(tokens[at].info)
        return f'<p class="footnote"><sup class="footnote-label">{label}</sup> '

    def code_block(
        self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType
    ) -> str:
        return _code("", escape(tokens[at].content))

    def fence(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
        title, name, language = file_and_language(tokens[at].info)
        return _code(title, env["highlighter"].highlight(tokens[at].content, language, name))


def _code(title: str, highlighted: str) -> str:
    head = f'<div class="code-file">{escape(title)}</div>' if title else ""
    return f'<div class="code">{head}<pre><code>{highlighted}</code></pre></div>\n'


def _heading(token: Token) -> str:
    """Return a lower heading level: the page's h1 is the name of the room."""
    return {"h1": "h3", "h2": "h4"}.get(token.tag, "h5")


def _cell(token: Token) -> str:
    """Return the tag with `data-align`: the CSP forbids the inline style that markdown-it uses."""
    side = str(token.attrs.get("style", "")).removeprefix("text-align:")
    align = {"right": "end", "center": "center"}.get(side)
    return f'<{token.tag} data-align="{align}">' if align else f"<{token.tag}>"
