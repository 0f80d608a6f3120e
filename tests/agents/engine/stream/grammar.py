"""Generates streams of providers, each with the answer that it holds.

The answer is known before the bytes are made, so the expectation does not depend on any parser.
"""

import gzip
import json
import os
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

TINY_BYTES = 150
"""Bytes of one stream that arrive in chunks of 1 to 3 bytes."""

FIRST_SEED = int(os.environ.get("MARU_TEST_SEED") or random.randrange(10**9))
"""The seeds of a run begin here. To repeat a failure, set MARU_TEST_SEED to its seed."""

WORDS = (
    "Hello, ",
    "방 ",
    "people",
    "😀",
    "a\tb",
    "\n",
    " ",
    "  - item\n",
    "```\n<think>\n```\n",
    "`</think>` ",
    "<think>later</think>",
    "data: ",
    "[DONE]",
    '{"choices": []}',
    "\\",
    '"',
    "}{",
    "\u2028",
    "e\u0301",
    ": ",
    "null",
    "A" * 300,
)
NUMBERS = ("42", "0", "-7", "3.5", "true")
THOUGHTS = (
    "secret",
    " thoughts\n",
    "`code`",
    "비밀 ",
    "<b>",
    "</",
    "{}",
    "\n\n",
    "[DONE]",
    "a < b",
)
TAGS = (
    ("<think>", "</think>"),
    ("<THINK>", "</Think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
)
DONE = ("[DONE]", "[done]", '"[DONE]"', " [DONE] ", "[Done]")
NOTHING = ("", " ", "null", "[]", "ping", ": PROCESSING", "7", '"hello"', '{"type": "ping"}')
ENDS = (
    "done",
    "finish",
    "finish-done",
    "finish-usage-done",
    "finish-noise",
    "cut-after",
    "none",
    "cut",
)


@dataclass
class Stream:
    """The bytes of one body, in the chunks in which they arrive, and what they mean."""

    seed: int
    chunks: list[bytes] = field(default_factory=list)
    encoding: str = ""
    text: str = ""
    complete: bool = True
    """Whether a finish reason or `[DONE]` ends the answer."""
    cut: bool = False
    """Whether the connection breaks after the last chunk."""
    usage: tuple[int, int] | None = None
    hold: bool = False
    """Whether the text arrives before the time for an end tag without a start tag is over."""


def generate(seed: int, *, cuts: bool = True) -> Stream:
    """Return the stream of this seed; without `cuts`, in a single chunk."""
    return _Generator(seed).stream(cuts=cuts)


class _Generator:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._stream = Stream(seed)
        self._has_messages = self._chance(0.05)
        self._framing = self._pick(
            ("blank", "blank", "blank", "single", "glued", "raw", "pretty-data", "pretty-raw")
        )
        self._line_end = self._pick(("\n", "\n", "\r\n", "\r"))
        self._field = self._pick(("data: ", "data: ", "data:", " data: ", "\tdata:", "data :"))

    def _pick(self, choices: Sequence[T]) -> T:
        # `Random.choice` takes three times as long, and a stream picks hundreds of times.
        return choices[int(self._random.random() * len(choices))]

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def stream(self, *, cuts: bool) -> Stream:
        end = self._pick(ENDS)
        pieces = self._pieces()
        if self._chance(0.06):
            body = self._whole_answer("".join(pieces), end)
        else:
            body = self._body(pieces, end)
        stream = self._stream
        stream.complete = stream.complete and end not in ("none", "cut")
        stream.cut = end in ("cut-after", "cut")
        data = self._compress(body)
        stream.chunks = list(self._cut(data)) if cuts else [data]
        return stream

    def _pieces(self) -> list[str]:
        """Return the texts of the events, and note the answer that they make."""
        answer = [self._pick(WORDS) for _ in range(self._random.randrange(6))]
        answer.insert(0, self._pick(WORDS[:4]))  # tags count only before the first word
        answer.insert(0, self._pick(("", "", "\n", " ")))
        if not self._has_messages and self._chance(0.2):
            answer = [self._pick(NUMBERS), *answer]
        kind = self._pick(("plain", "plain", "tags", "orphan"))
        thoughts: list[str] = []
        for _ in range(self._random.randint(1, 2) if kind == "tags" else 0):
            begin, end = self._pick(TAGS)
            blank = self._pick(("", "\n", "\n\n", " "))
            thoughts += [blank, begin, *self._thoughts(), end]
        if kind == "orphan":
            thoughts = [*self._thoughts(), self._pick(TAGS)[1]]
        self._stream.hold = kind == "orphan" or self._chance(0.5)
        text = "".join(answer)
        self._stream.text = text.lstrip() if thoughts else text
        if thoughts:
            answer.insert(0, self._pick(("", "\n", "\n\n")))
        return self._split("".join(thoughts)) + (
            answer if not thoughts else self._split("".join(answer))
        )

    def _thoughts(self) -> list[str]:
        words = [self._pick(THOUGHTS) for _ in range(self._random.randint(1, 4))]
        return ["so ", *words, self._pick(("", "\n"))]

    def _split(self, text: str) -> list[str]:
        """Split at any characters, so that tags are cut anywhere."""
        pieces = []
        while text:
            size = self._pick((1, 2, 3, 5, 8, 40))
            pieces.append(text[:size])
            text = text[size:]
        return pieces

    def _body(self, pieces: list[str], end: str) -> str:
        events: list[str] = []
        if self._chance(0.5):
            events.append(self._chunk({"role": "assistant", "content": ""}))
        for piece in pieces:
            events += self._noise()
            events.append(self._text_event(piece))
        events += self._noise()
        if end.startswith("finish") or end == "cut-after":
            events.append(self._finish())
        if "usage" in end:
            events += self._noise()
            events.append(self._json({"choices": [], "usage": self._usage()}))
        if end == "finish-noise":
            noise = self._pick(('{"error": {"code": 500}}', "{broken", '{"choices": 7}', ""))
            events.append(noise or self._finish("error"))
        if end.endswith("done"):
            events.append(self._pick(DONE))
        return self._frame(events)

    def _noise(self) -> list[str]:
        """Return events that are no part of the answer; a leading `!` marks whole lines."""
        if self._chance(0.75):
            return []
        other = {"index": 1, "delta": {"content": "OTHER"}, "finish_reason": "stop"}
        values: tuple[dict[str, Any], ...] = (
            {"choices": [other]},
            {"choices": []},
            {"choices": [{"index": 0, "delta": None}]},
            {"choices": [{"index": 0}]},
        )
        deltas: tuple[object, ...] = (
            {"reasoning_content": "hm", "content": None},
            {"reasoning": "hm"},
            {"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}]},
            {"content": ""},
            [],
        )
        kind = self._random.randrange(4)
        if kind == 0:
            return [self._pick(("!: comment", "!:", "!retry: 3000", "!event: heartbeat", "!id: 7"))]
        if kind == 1:
            return [self._pick(NOTHING)]
        if kind == 2:
            return [self._chunk(self._pick(deltas))]
        value = self._pick(values)
        return [self._json(value | {"usage": self._usage()} if self._chance(0.3) else value)]

    def _text_event(self, piece: str) -> str:
        if self._has_messages:
            return self._choices({"index": 0, "message": {"content": piece}, "finish_reason": None})
        if piece in NUMBERS and self._chance(0.7):
            return self._chunk({"content": json.loads(piece)})
        part = {"type": "text", "text": piece}
        return self._chunk(
            self._pick(
                (
                    *[{"content": piece}] * 6,
                    {"content": [part]},
                    {"content": [{"type": "thinking", "thinking": "hm"}, part]},
                    {"content": [piece[:1], {"type": "text", "text": piece[1:]}]},
                    {"content": part},
                    {"content": None, "refusal": piece},
                    {"content": piece, "reasoning_content": "hm", "tool_calls": None},
                )
            )
        )

    def _chunk(self, delta: object) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": self._pick((None, None, "", "null"))}
        if self._chance(0.1):
            del choice["finish_reason"]
        return self._choices(choice)

    def _choices(self, choice: dict[str, Any]) -> str:
        choices = [choice]
        if self._chance(0.1):
            choice["index"] = self._pick(("0", None))
        elif self._chance(0.05):
            del choice["index"]
        if self._chance(0.1):
            other = {"index": 1, "delta": {"content": "OTHER"}, "finish_reason": "length"}
            choices = (
                [choice, other]
                if choice.get("index") != 0 or self._chance(0.5)
                else [other, choice]
            )
        value: dict[str, object] = {
            "id": "c",
            "object": "chat.completion.chunk",
            "choices": choices,
        }
        usage = self._random.randrange(12)
        if usage == 0:
            value["usage"] = self._usage()
        elif usage < 3:
            nothing: tuple[object, ...] = ({}, None, [])
            value["usage"] = self._pick(nothing)
        elif usage == 3:
            choice["usage"] = self._usage()
        return self._json(value)

    def _usage(self) -> dict[str, int]:
        self._stream.usage = self._random.randint(1, 9), self._random.randint(1, 9)
        names = self._pick(
            (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))
        )
        return dict(zip(names, self._stream.usage, strict=True))

    def _finish(self, reason: str = "stop") -> str:
        choice = {
            "index": 0,
            "delta": self._pick(({}, None, {"content": ""})),
            "finish_reason": reason,
        }
        return self._choices(choice)

    def _whole_answer(self, text: str, end: str) -> str:
        reason = None if end in ("none", "cut", "done") else "stop"
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": reason,
        }
        value = {"object": "chat.completion", "choices": [choice], "usage": self._usage()}
        body = self._json(value, indent=self._pick((None, 2)))
        if self._chance(0.5):
            body = self._frame([body])
        if end == "done":
            body += f"{self._line_end}data: [DONE]{self._line_end}"
        return body

    def _json(self, value: object, indent: int | None = None) -> str:
        encoded = json.dumps(value, ensure_ascii=self._chance(0.3), indent=indent)
        # Some providers send control characters unescaped.
        return (
            encoded.replace("\\t", "\t") if self._chance(0.2) and "\\\\" not in encoded else encoded
        )

    def _frame(self, events: list[str]) -> str:
        end = self._line_end
        body = self._pick(("", "", "", "\ufeff", f": open{end}{end}", end, f"retry: 1{end}"))
        for event in events:
            body += self._one_frame(event)
        trim = self._random.randrange(4)
        if trim == 0:
            body = body.rstrip("\r\n")
        elif trim == 1:
            body = body.rstrip("\r\n") + end
        return body

    def _one_frame(self, event: str) -> str:
        end = self._line_end
        if event.startswith("!"):
            return event[1:] + end + end
        names = "".join(
            f"{name}{end}"
            for name in ("event: message", "id: 3", "event: thread.message.delta", ": hi")
            if self._chance(0.08)
        )
        if not (event.startswith('{"') and event.endswith("}")):
            framing = "blank"
        elif "\t" in event and self._framing.startswith("pretty"):
            framing = "blank"  # json.loads refuses the unescaped control character
        else:
            framing = self._framing
        if framing.startswith("pretty"):
            lines = json.dumps(json.loads(event), indent=1).split("\n")
            between = end + (self._field if framing == "pretty-data" else "")
            return f"{self._field}{between.join(lines)}{end}{end}"
        if framing == "glued":
            return f"{self._field}{event}" + self._pick(("", end + end))
        if framing == "raw":
            return event + end
        return f"{names}{self._field}{event}{end}" + (end if framing == "blank" else "")

    def _compress(self, body: str) -> bytes:
        data = body.encode("utf-8", "surrogatepass")
        kind = self._random.randrange(12)
        if kind == 0:
            self._stream.encoding = self._pick(("gzip", "x-gzip", "", "deflate"))
            return gzip.compress(data, mtime=0)
        if kind == 1:
            self._stream.encoding = "deflate"
            return zlib.compress(data)
        if kind == 2:
            self._stream.encoding = "deflate"
            compressor = zlib.compressobj(wbits=-15)
            return compressor.compress(data) + compressor.flush()
        self._stream.encoding = self._pick(
            ("", "", "identity", "utf-8", "gzip", "deflate", "br", "none")
        )
        return data

    def _cut(self, data: bytes) -> Iterator[bytes]:
        sizes = self._pick(
            (*[(50, 200)] * 9, *[(1000,)] * 6, *[(7, 20, 50)] * 2, (7, 50), (1, 2, 3), (1,))
        )
        if sizes[0] == 1:
            # Tiny chunks in one part of the stream only: they take most of the time of a test.
            start = self._random.randrange(len(data) + 1) if self._chance(0.7) else 0
            if start:
                yield data[:start]
            end = start + TINY_BYTES
            yield from self._cut_evenly(data[start:end], sizes)
            data, sizes = data[end:], (1000,)
        yield from self._cut_evenly(data, sizes)

    def _cut_evenly(self, data: bytes, sizes: tuple[int, ...]) -> Iterator[bytes]:
        position = 0
        while position < len(data):
            size = self._pick(sizes)
            yield data[position : position + size]
            position += size
