"""The HTML of a message runs no script, loads nothing, and shows the true host of each link."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.markup import render
from rooms.markup.clean import LINK_REL
from tests.rooms.markup.payloads import LOADING, SCRIPTS, UNLINKED

TAGS = {
    "p",
    "br",
    "hr",
    "strong",
    "em",
    "s",
    "bdi",
    "code",
    "h3",
    "h4",
    "h5",
    "a",
    "span",
    "sup",
    "div",
}
TAGS |= {
    "ul",
    "ol",
    "li",
    "blockquote",
    "pre",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
ATTRIBUTES = {"class", "href", "target", "rel", "start", "value", "data-align", "data-handle"}


class Page(HTMLParser):
    """Collects what a browser would parse: every tag with its attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def links(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "a"]


def foreign_parts(html: str) -> list[str]:
    """Return the tags and attributes in `html` that a message must not contain."""
    found = []
    for tag, attributes in Page(html).tags:
        found += [tag] if tag not in TAGS else []
        found += [f"{tag}.{name}" for name in attributes if name not in ATTRIBUTES]
    for link in Page(html).links:
        href = link.get("href") or ""
        found += [href] if not href.startswith(("http://", "https://", "mailto:")) else []
    return found


# Controls: the checks of these tests find violations in HTML that is not sanitized.


def test_violation_check_finds_violations_in_raw_payloads() -> None:
    raw = [payload for payload in SCRIPTS + LOADING if foreign_parts(payload)]

    assert len(raw) > 30


def test_markdown_library_alone_allows_images_and_unsafe_hosts() -> None:
    from markdown_it import MarkdownIt

    bare = MarkdownIt("js-default", {"html": True})

    assert foreign_parts(bare.render(LOADING[0])) == ["img", "img.src", "img.alt"]
    assert foreign_parts(bare.render(SCRIPTS[0])) == ["script"]
    assert Page(bare.render("[x](https://bank.example@evil.example/)")).links


# Hostile text


@pytest.mark.parametrize("payload", SCRIPTS + UNLINKED + LOADING)
def test_payload_leaves_no_violation(payload: str) -> None:
    for text in (
        payload,
        f"**{payload}**",
        f"> {payload}",
        f"- a\n- {payload}",
        f"a {payload} b",
    ):
        assert foreign_parts(render(text, ["garam"])) == []


@pytest.mark.parametrize("payload", SCRIPTS)
def test_truncated_payload_leaves_no_violation(payload: str) -> None:
    for end in range(len(payload)):
        assert foreign_parts(render(payload[:end])) == []


@pytest.mark.parametrize("payload", UNLINKED)
def test_url_that_is_not_allowed_does_not_become_a_link(payload: str) -> None:
    assert Page(render(payload)).links == []


@pytest.mark.parametrize("payload", LOADING)
def test_message_loads_nothing_before_a_click(payload: str) -> None:
    loading = {
        "src",
        "srcset",
        "poster",
        "data",
        "style",
        "background",
        "ping",
        "xlink:href",
    }

    for tag, attributes in Page(render(payload)).tags:
        assert tag not in {
            "img",
            "image",
            "link",
            "iframe",
            "svg",
            "video",
            "audio",
            "source",
        }
        assert not loading & set(attributes)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("[]()<>*_`|@#-+=~!&;:/\\\"' \n\taxж가\u202e\ud800"))))
def test_random_text_leaves_no_violation(text: str) -> None:
    assert foreign_parts(render(text, ["a", "가"])) == []


# Links


@pytest.mark.parametrize(
    ("text", "href", "words"),
    [
        (
            "[the report](https://a.example/r)",
            "https://a.example/r",
            "the report (a.example)",
        ),
        (
            "[https://bank.example](https://evil.example)",
            "https://evil.example",
            "(evil.example)",
        ),
        (
            "[bank.example](https://evil.example)",
            "https://evil.example",
            "(evil.example)",
        ),
        ("https://a.example/x", "https://a.example/x", "https://a.example/x"),
        ("<https://a.example/x>", "https://a.example/x", "https://a.example/x"),
        (
            "[a.example](https://www.a.example/x)",
            "https://www.a.example/x",
            "a.example",
        ),
        (
            "see https://a.example/x_(y), now",
            "https://a.example/x_(y)",
            "see https://a.example/x_(y), now",
        ),
        ("[mail](mailto:a@b.example)", "mailto:a@b.example", "mail (b.example)"),
    ],
)
def test_link_shows_its_host(text: str, href: str, words: str) -> None:
    page = Page(render(text))

    assert [link["href"] for link in page.links] == [href]
    assert words in page.words


def test_host_in_the_link_text_is_not_repeated() -> None:
    assert Page(render("https://a.example/x")).words.count("a.example") == 1
    assert Page(render("[a.example](https://a.example)")).words.count("a.example") == 1


def test_links_open_a_new_tab_without_referrer_or_opener() -> None:
    for link in Page(render("https://a.example [b](http://b.example) <mailto:c@c.example>")).links:
        assert link["rel"] == LINK_REL
        assert link["target"] == "_blank"


def test_lookalike_host_is_shown_in_punycode() -> None:
    lookalike = "https://\u0430\u0440\u0440\u04cf\u0435.com/id"  # Cyrillic letters

    assert "(xn--80ak6aa92e.com)" in Page(render(lookalike)).words
    assert "(xn--80ak6aa92e.com)" in Page(render(f"[sign in]({lookalike})")).words


# Formatting


def test_code_fence_shows_its_file_name_and_highlighting() -> None:
    html = render("```python payments/gateway.py\nasync def approve(): pass\n```")

    assert '<div class="code-file">payments/gateway.py</div>' in html
    assert '<span class="code-keyword">async</span>' in html
    assert '<span class="code-name">approve</span>' in html


def test_diff_highlights_changed_lines_and_other_lines_in_the_language_of_the_file() -> None:
    html = render("```diff payments/gateway.py\n def a():\n-  return 1\n+  return 2\n```")

    assert '<span class="code-removed">-  return 1' in html
    assert '<span class="code-added">+  return 2' in html
    assert '<span class="code-keyword">def</span>' in html


@pytest.mark.parametrize("info", ["python", "nonsense", "", "{.py}", "a b c", "make", "\\", "é"])
def test_highlighting_keeps_every_character_in_any_language(info: str) -> None:
    code = "if a < b && c:\n\tprint('x')  # &lt; \\ \u200b가\n"

    assert code in Page(render(f"```{info}\n{code}```")).words


def test_table_scrolls_in_its_own_box_and_aligns_without_inline_style() -> None:
    html = render("|a|b|\n|-|-:|\n|1|2|")

    assert '<div class="table-scroll"><table>' in html
    assert '<td data-align="end">2</td>' in html
    assert "style" not in html


def test_headings_rank_below_those_of_the_page() -> None:
    html = render("# a\n\n## b\n\n###### c")

    assert "<h3>a</h3>" in html
    assert "<h1" not in html
    assert "<h2" not in html


def test_line_breaks_are_kept() -> None:
    assert render("a\nb") == "<p>a<br>\nb</p>\n"


def test_empty_text_has_no_html() -> None:
    assert render("") == ""


def test_lone_surrogates_are_replaced() -> None:
    assert render("a \ud83d b") == "<p>a \ufffd b</p>\n"


def test_user_info_in_a_url_is_not_shown_as_the_host() -> None:
    html = render("[https://bank.example/login@evil.example](https://evil.example/x)")

    assert "<bdi" in html
