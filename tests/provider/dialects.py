"""What providers are reported to send, step by step, and the answer that it means.

`DIALECTS` has a case for each report. Unless a case says otherwise, its answer is TEXT.
"""

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any

from tests.provider.raw import CUT, HOLD, Step

TEXT = "Hello, 방 people"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass(frozen=True)
class Dialect:
    """One response: the answer in it, and the code of its failure (None: it is complete)."""

    steps: tuple[Step, ...]
    text: str = TEXT
    code: str | None = None


def head(kind: str = "text/event-stream", *more: str, status: str = "200 OK") -> bytes:
    """Return the head of a response whose body ends with the connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def event(value: object, *, prefix: str = "data: ", end: str = "\n\n") -> bytes:
    """Return one event with JSON, or with text as it is."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{prefix}{text}{end}".encode()


def chunk(delta: object, reason: object = None, **more: Any) -> dict[str, Any]:
    """Return the object of an event that adds `delta` to choice 0."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [choice], **more}


def whole(text: str = TEXT, reason: str | None = "stop") -> dict[str, Any]:
    """Return a whole answer, as for a request without a stream."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": reason,
    }
    return {"object": "chat.completion", "choices": [choice], "usage": USAGE}


def texts(*contents: object) -> list[dict[str, Any]]:
    return [chunk({"content": content}) for content in contents]


HALVES = texts("Hello, ", "방 people")
STOP = chunk({}, "stop")
PLAIN: list[object] = [*HALVES, STOP, {"choices": [], "usage": USAGE}, "[DONE]"]


def stream(*values: object, start: bytes | None = None, **framing: str) -> tuple[Step, ...]:
    """Return a head and one write for each event."""
    return (head() if start is None else start, *(event(value, **framing) for value in values))


def ends_with(reason: str, code: str | None) -> Dialect:
    return Dialect(stream(*HALVES, chunk({}, reason), "[DONE]"), code=code)


def _chunked(*values: object) -> tuple[Step, ...]:
    """Return a chunked body without its last chunk (RFC 9112 §7.1)."""
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    events = [event(value) for value in values]
    return (start, *(b"%x\r\n%b\r\n" % (len(data), data) for data in events))


_OTHER = {"index": 1, "delta": {"content": "OTHER"}, "finish_reason": "length"}
_BODY = b"".join(event(value) for value in PLAIN)
_RAW_DEFLATE = zlib.compressobj(wbits=-15)

FRAMINGS = {
    "id, event and retry": Dialect(
        (
            head(),
            b"retry: 3000\n\n",
            *(
                event(value, prefix=f"id: {n}\nevent: message\ndata: ")
                for n, value in enumerate(PLAIN)
            ),
        )
    ),
    "event names of threads": Dialect(stream(*PLAIN, prefix="event: thread.message.delta\ndata: ")),
    "space before the field": Dialect(stream(*PLAIN, prefix=" data: ")),
    "no space after the colon": Dialect(stream(*PLAIN, prefix="data:")),
    "CRLF": Dialect(stream(*PLAIN, end="\r\n\r\n")),
    "CR": Dialect(stream(*PLAIN, end="\r\r")),
    "byte order mark": Dialect((head(), b"\xef\xbb\xbf" + _BODY)),
    "no blank lines": Dialect(stream(*PLAIN, end="\n")),
    "no blank lines, open": Dialect((*stream(*HALVES, STOP, end="\n"), HOLD)),
    "events on one line": Dialect(
        (head(), *(event(value, end="") for value in HALVES), b"\n\n", event(STOP), event("[DONE]"))
    ),
    "every byte alone": Dialect((head(), *(bytes([byte]) for byte in _BODY))),
    "JSON lines": Dialect(stream(*PLAIN[:-1], prefix="", end="\n")),
    "last event without a blank line": Dialect((head(), _BODY[: _BODY.index(b"stop") + 10])),
    "last event without a line end": Dialect((head(), _BODY[: _BODY.index(b"stop") + 8])),
    "heartbeats": Dialect(
        stream(
            "",
            *HALVES[:1],
            " ",
            "null",
            "ping",
            ": PROCESSING",
            "[]",
            "7",
            '{"type": "ping"}',
            *PLAIN[1:],
        )
    ),
    "heartbeats without data": Dialect(
        (
            head(),
            b": open\n\n",
            event(HALVES[0]),
            b"event: heartbeat\n\n",
            b":\n",
            _BODY[len(event(HALVES[0])) :],
        )
    ),
    "control characters": Dialect(
        (head(), event(texts("a\tb")[0]).replace(rb"\t", b"\t"), event(STOP)), "a\tb"
    ),
    "pretty-printed": Dialect(
        (
            head(),
            *(event(json.dumps(value, indent=2)) for value in PLAIN[:-1]),
        )
    ),
}
PARTS = {
    "empty usage": Dialect(
        stream(*(value | {"usage": {}} for value in HALVES), STOP | {"usage": {}})
    ),
    "usage with every text": Dialect(
        stream(*(v | {"usage": USAGE} for v in HALVES), STOP, "[DONE]")
    ),
    "two choices": Dialect(
        stream(
            {"choices": [_OTHER]},
            HALVES[0],
            {"choices": [HALVES[1]["choices"][0], _OTHER]},
            {"choices": [_OTHER | {"delta": {}, "finish_reason": "stop"}]},
            STOP,
        )
    ),
    "no delta": Dialect(
        stream(
            *HALVES[:1],
            {"choices": [{"index": 0}]},
            chunk(None),
            HALVES[1],
            {"choices": [{"finish_reason": "stop"}]},
        )
    ),
    "delta is a list": Dialect(stream(chunk([]), *HALVES, chunk([], "stop"))),
    "list of parts": Dialect(
        stream(
            *(
                chunk({"content": [{"type": "text", "text": text}]})
                for text in ("Hello, ", "방 people")
            ),
            STOP,
        )
    ),
    "thinking parts": Dialect(
        stream(
            chunk(
                {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}
            ),
            *PLAIN,
        )
    ),
    "number": Dialect(stream(*texts(42, 0, 3.5, True), STOP), "4203.5true"),
    "refusal": Dialect(
        stream(chunk({"content": None, "refusal": "I can"}), chunk({"refusal": "not."}), STOP),
        "I cannot.",
    ),
    "message instead of delta": Dialect(stream({"choices": whole()["choices"]}, "[DONE]")),
    "message beside delta": Dialect(stream(*HALVES, {"choices": whole()["choices"]}, "[DONE]")),
    "older completions": Dialect(
        stream(
            *({"choices": [{"index": 0, "text": text}]} for text in ("Hello, ", "방 people")), STOP
        )
    ),
    "reasoning fields": Dialect(
        stream(
            chunk({"reasoning_content": "hm"}), chunk({"reasoning": "hm", "content": ""}), *PLAIN
        )
    ),
    "think tags": Dialect(stream(*texts("<think>", "secret", "</think>\n\n"), *PLAIN)),
    "think tags that are cut": Dialect(stream(*texts("<thi", "nk>secret</th", "ink>\n"), *PLAIN)),
    "only an end tag": Dialect(stream(*texts("secret thoughts\n</think>\n\n"), *PLAIN)),
    "only an end tag that is cut": Dialect(stream(*texts("secret", "\n</th", "ink>"), *PLAIN)),
}
BODIES = {
    **{
        f"labelled {kind}": Dialect(stream(*PLAIN, start=head(kind)))
        for kind in (
            "text/html",
            "application/json",
            "application/json; charset=utf-8",
            "image/png",
            "",
        )
    },
    "whole answer": Dialect((head("application/json"), json.dumps(whole(), indent=1).encode())),
    "whole answer as an event": Dialect(stream(whole(), "[DONE]")),
    "whole answer called a stream": Dialect((head(), json.dumps(whole()).encode())),
    "whole answer without a reason": Dialect(
        (head(), json.dumps(whole(reason=None)).encode()), code="truncated"
    ),
    "gzip": Dialect((head("text/event-stream", "Content-Encoding: gzip"), gzip.compress(_BODY))),
    "gzip without a label": Dialect((head(), gzip.compress(_BODY))),
    "deflate": Dialect(
        (head("text/event-stream", "Content-Encoding: deflate"), zlib.compress(_BODY))
    ),
    "raw deflate": Dialect(
        (
            head("text/event-stream", "Content-Encoding: deflate"),
            _RAW_DEFLATE.compress(_BODY) + _RAW_DEFLATE.flush(),
        )
    ),
    **{
        f"encoding {name!r}": Dialect(
            stream(*PLAIN, start=head("text/plain", f"Content-Encoding: {name}"))
        )
        for name in ("", "identity", "utf-8", "gzip", "deflate", "br", "none, gzip")
    },
    "sign-in page": Dialect(
        (head("text/html"), b"<html>\nPlease sign in\n</html>"), "", "provider_garbled"
    ),
    "empty body": Dialect((head(),), "", "truncated"),
}
ENDS = {
    "done in lower case": Dialect(stream(*PLAIN[:-1], "[done]")),
    "done as a string": Dialect(stream(*PLAIN[:-1], '"[DONE]"')),
    "done without a reason": Dialect(stream(*HALVES, {"choices": [], "usage": USAGE}, "[DONE]")),
    "reset after the reason": Dialect((*stream(*HALVES, STOP), 0.1, CUT)),
    "open after the reason": Dialect((*stream(*HALVES, STOP), HOLD)),
    "chunked body without an end": Dialect(_chunked(*HALVES, STOP)),
    "error after the reason": Dialect(stream(*HALVES, STOP, {"error": {"code": 500}})),
    "neither reason nor done": Dialect(stream(*HALVES), code="truncated"),
    "cut inside an event": Dialect(
        (head(), _BODY[: len(event(HALVES[0])) + 30]), "Hello, ", "truncated"
    ),
    "reset without a reason": Dialect((*stream(*HALVES), 0.3, CUT), code="provider_unavailable"),
    **{
        f"reason {word}": ends_with(word, code)
        for code, words in {
            None: "stop STOP end_turn FinishReason.STOP eos_token tool_calls new-word",
            "too_long": "length LENGTH max_tokens MAX_TOKENS maxTokens max-length "
            "max_output_tokens FINISH_REASON_MAX_TOKENS model_context_window_exceeded",
            "provider_refused": "content_filter CONTENT_FILTER content-filter ContentFilter safety "
            "SAFETY RECITATION sensitive refusal guardrail_intervened PROHIBITED_CONTENT blocked",
            "provider_unavailable": "error abort cancelled timeout network_error server-error "
            "insufficient_system_resource MALFORMED_FUNCTION_CALL engine_overloaded",
        }.items()
        for word in words.split()
    },
}
DIALECTS: dict[str, Dialect] = {**FRAMINGS, **PARTS, **BODIES, **ENDS}
