"""What providers are reported to send when a model calls tools, and the calls that it means.

Unless a case says otherwise, its text is TEXT and its calls are TWO.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.provider.dialects import USAGE, chunk, stream
from tests.provider.raw import Step

TEXT = "Let me look."
ARGUMENTS = {"q": 'a "방" \\ \n {', "n": [1, 2.5, {}]}
TWO: list[tuple[str, Any]] = [("look", ARGUMENTS), ("find", {"b": 2})]
ENCODED = [json.dumps(arguments, ensure_ascii=False) for _, arguments in TWO]
LOOK, FIND = ENCODED


@dataclass(frozen=True)
class ToolDialect:
    """One response, its text, and its calls: names and arguments."""

    steps: tuple[Step, ...]
    text: str = TEXT
    calls: list[tuple[str, Any]] | None = None

    @property
    def expected(self) -> list[tuple[str, Any]]:
        return TWO if self.calls is None else self.calls


def fragment(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a fragment of a call; `fields` are its index, its id and its type."""
    return {"function": {"name": name, "arguments": arguments}, **fields}


def calls(*fragments: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(fragments)})


def dialect(*values: object, reason: str = "tool_calls", **expected: Any) -> ToolDialect:
    """Return a response with the text, these events, and an end."""
    return ToolDialect(
        stream(chunk({"content": TEXT}), *values, chunk({}, reason), "[DONE]"), **expected
    )


def cut(text: str, size: int = 3) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def whole_call(name: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return fragment(name, arguments, type="function", **fields)


MESSAGE = {
    "role": "assistant",
    "content": TEXT,
    "tool_calls": [whole_call("look", LOOK, id="x"), whole_call("find", FIND, id="y")],
}

OPENAI = {
    "numbered": dialect(
        calls(fragment("look", "", index=0, id="x", type="function")),
        *(calls(fragment(arguments=piece, index=0)) for piece in cut(LOOK)),
        calls(fragment("find", "", index=1, id="y", type="function")),
        *(calls(fragment(arguments=piece, index=1)) for piece in cut(FIND)),
    ),
    "every character of the arguments alone": dialect(
        calls(fragment("look", "", index=0, id="x"), fragment("find", "", index=1, id="y")),
        *(calls(fragment(arguments=piece, index=0)) for piece in cut(LOOK, 1)),
        *(calls(fragment(arguments=piece, index=1)) for piece in cut(FIND, 1)),
    ),
    "in turns": dialect(
        calls(fragment("look", LOOK[:9], index=0, id="x"), fragment("find", "", index=1, id="y")),
        calls(fragment(arguments=FIND, index=1), fragment(arguments=LOOK[9:], index=0)),
    ),
    "no index and no id": dialect(
        calls(fragment("look", LOOK[:5])),
        calls(fragment(arguments=LOOK[5:])),
        calls(fragment("find", FIND)),
    ),
    "empty ids": dialect(
        calls(fragment("look", LOOK, index=0, id="")), calls(fragment("find", FIND, index=1, id=""))
    ),
    "the same id": dialect(
        calls(fragment("look", LOOK, index=0, id="x")),
        calls(fragment("find", FIND, index=1, id="x")),
    ),
    "the same id without an index": dialect(
        calls(fragment("look", LOOK, id="x")), calls(fragment("find", FIND, id="x"))
    ),
    "the same id, in turns": dialect(
        calls(fragment("look", "", index=0, id="x"), fragment("find", "", index=1, id="x")),
        calls(fragment(arguments=LOOK, index=0, id="x")),
        calls(fragment(arguments=FIND, index=1, id="x")),
    ),
    "the same index": dialect(
        calls(fragment("look", LOOK, index=0, id="x")),
        calls(fragment("find", FIND, index=0, id="y")),
    ),
    "arguments as an object": dialect(
        calls(fragment("look", ARGUMENTS, index=0, id="x"), fragment("find", {"b": 2}, index=1))
    ),
    "an empty object before the arguments": dialect(
        calls(fragment("look", {}, index=0, id="x")),
        calls(fragment(arguments=LOOK, index=0)),
        calls(fragment("find", FIND, index=1, id="y")),
    ),
    "no arguments": dialect(
        calls(fragment("look", None, index=0, id="x"), fragment("find", "", index=1, id="y")),
        calls=[("look", {}), ("find", {})],
    ),
    "one call that is not in a list": dialect(
        chunk({"tool_calls": fragment("look", LOOK, id="x")}), calls=TWO[:1]
    ),
    "finish reason stop": dialect(
        calls(fragment("look", LOOK, index=0), fragment("find", FIND, index=1)), reason="stop"
    ),
    "calls beside the text": ToolDialect(
        stream(
            chunk({"content": TEXT, "tool_calls": MESSAGE["tool_calls"]}),
            chunk({}, "tool_calls"),
            "[DONE]",
        )
    ),
    "calls beside the reason": dialect(
        chunk({"tool_calls": MESSAGE["tool_calls"]}, "tool_calls"), calls=TWO
    ),
    "reasoning before the calls": dialect(
        chunk({"reasoning_content": "hm", "content": None}),
        calls(fragment("look", LOOK, index=0), fragment("find", FIND, index=1)),
    ),
    "message instead of delta": ToolDialect(
        stream(
            {"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}]}, "[DONE]"
        )
    ),
    "message beside an empty delta": ToolDialect(
        stream(
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {"role": "assistant", "content": ""},
                        "message": MESSAGE,
                        "finish_reason": "tool_calls",
                    }
                ]
            }
        )
    ),
    "message that repeats the calls": dialect(
        calls(fragment("look", LOOK, index=0, id="x"), fragment("find", FIND, index=1, id="y")),
        {"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}]},
    ),
    "function_call": dialect(
        chunk({"function_call": {"name": "look", "arguments": ""}}),
        *(chunk({"function_call": {"arguments": piece}}) for piece in cut(LOOK)),
        reason="function_call",
        calls=TWO[:1],
    ),
    "function_call of a message": ToolDialect(
        stream(
            {
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "content": TEXT,
                            "function_call": {"name": "look", "arguments": LOOK},
                        },
                        "finish_reason": "function_call",
                    }
                ]
            }
        ),
        calls=TWO[:1],
    ),
}

SIGNATURES = [{"google": {"thought_signature": f"s{number}"}} for number in range(2)]
THINKING = {
    "reasoning": dialect(
        chunk({"reasoning_content": "First I ", "content": None}),
        chunk({"reasoning_content": "look."}),
        calls(fragment("look", LOOK, index=0, id="x"), fragment("find", FIND, index=1, id="y")),
    ),
    "signatures": dialect(
        calls(fragment("look", LOOK, index=0, id="x", extra_content=SIGNATURES[0])),
        calls(fragment("find", "", index=1, id="y")),
        calls(fragment(arguments=FIND, index=1, extra_content=SIGNATURES[1])),
    ),
}
"""What the provider refuses to go on without, if the next request does not have it."""

_TOOL_USE = [
    {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments}
    for number, (name, arguments) in enumerate(TWO)
]


def _block(index: int, name: str, encoded: str) -> list[dict[str, Any]]:
    start = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *(
            {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            }
            for piece in ("", *cut(encoded))
        ),
        {"type": "content_block_stop", "index": index},
    ]


_TEXT_BLOCK: list[dict[str, Any]] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    *(
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": piece},
        }
        for piece in cut(TEXT)
    ),
    {"type": "content_block_stop", "index": 0},
]

OTHERS = {
    "Anthropic's events": ToolDialect(
        stream(
            {
                "type": "message_start",
                "message": {
                    "role": "assistant",
                    "content": [],
                    "usage": {"input_tokens": 7, "output_tokens": 1},
                },
            },
            *_TEXT_BLOCK,
            *_block(1, "look", LOOK),
            *_block(2, "find", FIND),
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use"},
                "usage": {"output_tokens": 3},
            },
            {"type": "message_stop"},
        )
    ),
    "Anthropic's whole message": ToolDialect(
        stream(
            {
                "type": "message",
                "content": [{"type": "text", "text": TEXT}, *_TOOL_USE],
                "stop_reason": "tool_use",
                "usage": {"input_tokens": 7, "output_tokens": 3},
            }
        )
    ),
    "tool_use parts of a delta": dialect(
        *(chunk({"content": [part]}) for part in _TOOL_USE), reason="tool_use"
    ),
    "tool_use parts of a message": ToolDialect(
        stream(
            {
                "choices": [
                    {
                        "message": {"content": [{"type": "text", "text": TEXT}, *_TOOL_USE]},
                        "finish_reason": "tool_use",
                    }
                ]
            }
        )
    ),
    "Gemini's parts": ToolDialect(
        stream(
            {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]},
            {"candidates": [{"content": {"parts": [{"text": TEXT}]}, "index": 0}]},
            {
                "candidates": [
                    {
                        "content": {
                            "parts": [
                                {"functionCall": {"name": name, "args": arguments}}
                                for name, arguments in TWO
                            ]
                        },
                        "finishReason": "STOP",
                    }
                ],
                "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3},
            },
        )
    ),
}
BROKEN = {
    "broken JSON": dialect(calls(fragment("look", '{"a": ', index=0)), calls=[("look", None)]),
    "two values": dialect(calls(fragment("look", "{}{}", index=0)), calls=[("look", None)]),
    "a list": dialect(calls(fragment("look", "[1]", index=0)), calls=[("look", None)]),
    "a string": dialect(calls(fragment("look", '"a"', index=0)), calls=[("look", None)]),
    "infinity": dialect(calls(fragment("look", '{"a": 1e999}', index=0)), calls=[("look", None)]),
    "deeply nested": dialect(
        calls(fragment("look", '{"a":' * 100 + "1" + "}" * 100, index=0)), calls=[("look", None)]
    ),
    "too long": dialect(
        calls(fragment("look", json.dumps({"a": "x" * 70_000}), index=0)), calls=[("look", None)]
    ),
    "no name": dialect(calls(fragment(None, "{}", index=0)), calls=[("unknown", None)]),
    "a name that providers refuse": dialect(
        calls(fragment("rm -rf /" * 20, "{}", index=0)), calls=[(("rm_-rf__" * 20)[:64], None)]
    ),
}
"""Calls that cannot be executed; their arguments here are None."""
TOOL_DIALECTS: dict[str, ToolDialect] = {**OPENAI, **THINKING, **OTHERS, **BROKEN}
ANSWERED = stream(chunk({"content": "Done."}), chunk({}, "stop"), {"choices": [], "usage": USAGE})
"""The response to the next request."""
