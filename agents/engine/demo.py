"""An LLM without a model: it streams through CrewAI like any other, and says what it is."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Literal

from crewai import BaseLLM
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import llm_call_context

QUOTE_LENGTH: Final = 60
PIECES: Final = 25

# In the language of the question, whatever the reader's settings are: no catalogue for these.
SPEECH: Final = {
    "en": (
        "This is the demo: no model is connected yet, so nobody has thought about this.\n\n"
        "You wrote: “{question}”\n\n"
        "For real answers, a team admin opens the team's settings, adds a connection to a model "
        "provider under Connections, and chooses it for this persona."
    ),
    "ko": (
        "데모 답변입니다. 아직 연결된 모델이 없어서, 실제로 생각해서 쓴 답은 아닙니다.\n\n"
        "보내신 말: “{question}”\n\n"
        "진짜 답을 받으려면 팀 관리자가 팀 설정의 연결에서 모델 제공자를 추가하고, "
        "이 페르소나에 그 연결을 골라 주세요."
    ),
}
"""“연결” and “Connections” are the page's own names in both languages."""


class DemoLLM(BaseLLM):
    """Answers every question with the same honest words, in small pieces, at a natural pace."""

    llm_type: Literal["demo"] = "demo"
    model: str = "demo"
    pause: ClassVar[float] = 0.025  # seconds between two pieces; tests and load tools set it

    async def acall(self, messages: Any, *_args: Any, **_options: Any) -> str:
        """Stream the words of the demo; the signature is BaseLLM's, most of it meant for tools."""
        with llm_call_context():
            self._emit_call_started_event(messages=messages)
            text = words(_question(messages))
            for number, piece in enumerate(pieces(text)):
                if number:
                    await asyncio.sleep(self.pause)
                self._emit_stream_chunk_event(chunk=piece)
            self._emit_call_completed_event(
                response=text, call_type=LLMCallType.LLM_CALL, finish_reason="stop"
            )
            return text

    def call(self, *_args: Any, **_options: Any) -> str:
        """The engine never blocks a thread."""
        raise NotImplementedError("DemoLLM answers through acall")


def words(question: str) -> str:
    """Return what the demo says to `question`: in Korean if it has Hangul in it, else English."""
    speech = SPEECH["ko" if re.search("[ᄀ-ᇿ㄰-㆏가-힣]", question) else "en"]
    return speech.replace("{question}", quoted(question))


def quoted(question: str) -> str:
    """Return the question's beginning as plain text on one line: no mark-up, no mention."""
    plain = " ".join(re.sub(r"[^\w\s.,?!:;'%()/-]|_", " ", question).split())
    if len(plain) <= QUOTE_LENGTH:
        return plain or "…"
    return plain[:QUOTE_LENGTH].rstrip() + "…"


def pieces(text: str) -> Iterator[str]:
    """Cut `text` into about as many pieces as a model would need a second for."""
    size = -(-len(text) // PIECES)
    return (text[start : start + size] for start in range(0, len(text), size))


def _question(messages: Any) -> str:
    """Return the last message of another than the persona, without the line that names them."""
    asked = [m["content"] for m in messages if m["role"] == "user"]
    return asked[-1].partition("\n")[2] if asked else ""
