"""An LLM without a model: it streams a fixed demo text through CrewAI, like every other LLM."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Literal

from crewai import BaseLLM
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import llm_call_context

MAX_QUOTE_LENGTH: Final = 60
CHUNKS: Final = 48

# Not gettext: the answer is in the language of the question, not in the language of the pages.
# “모델 연결” and “Connections” are the names that the settings page shows.
TEMPLATES: Final = {
    "en": """\
This is a **demo answer**. No model is connected yet, so the text is always the same.

You wrote: “{question}”

A real answer can contain lists, tables and code, and appears while it is written, as this one does.

| Step | Where |
|---|---|
| Connect a provider | Connections |
| Check the connection | the same page |
| Choose a model | this persona |

```python
def answer(question):
    return model.ask(question)
```

For real answers, ask a team admin to take these steps: {link}.
""",
    "ko": """\
**데모 답변**입니다. 아직 연결된 모델이 없어서 늘 같은 내용을 보냅니다.

보낸 메시지: “{question}”

실제 답변에는 목록, 표, 코드가 들어갈 수 있고, 지금처럼 쓰는 대로 나타납니다.

| 단계 | 곳 |
|---|---|
| 모델 제공자 추가 | 모델 연결 |
| 연결 확인 | 같은 화면 |
| 모델 고르기 | 이 페르소나 |

```python
def answer(question):
    return model.ask(question)
```

실제 답변을 받으려면 팀 관리자에게 이 순서대로 해 달라고 요청하세요: {link}.
""",
}
LINKS: Final = {
    "en": ("Connect a model", "**Connections** in the team settings"),
    "ko": ("모델 연결하기", "팀 설정의 **모델 연결**"),
}
"""The words of the link to the steps, and where they begin if there is no link."""


class DemoLLM(BaseLLM):
    """Answers every question with the demo text, in about `CHUNKS` chunks."""

    llm_type: Literal["demo"] = "demo"
    model: str = "demo"
    connect_url: str = ""
    pause: ClassVar[float] = 0.025  # seconds between two chunks; tests set 0

    async def acall(self, messages: Any, *_args: Any, **_options: Any) -> str:
        """Stream the demo text. The ignored arguments belong to BaseLLM's signature."""
        with llm_call_context():
            self._emit_call_started_event(messages=messages)
            text = demo_text(_last_question(messages), self.connect_url)
            for number, chunk in enumerate(_chunks(text)):
                if number:
                    await asyncio.sleep(self.pause)
                self._emit_stream_chunk_event(chunk=chunk)
            self._emit_call_completed_event(
                response=text, call_type=LLMCallType.LLM_CALL, finish_reason="stop"
            )
            return text

    def call(self, *_args: Any, **_options: Any) -> str:
        """Raise NotImplementedError: the engine makes no blocking calls."""
        raise NotImplementedError("DemoLLM answers through acall")


def demo_text(question: str, connect_url: str = "") -> str:
    """Return the demo text: in Korean if the question contains Hangul, else in English."""
    language = "ko" if re.search("[ᄀ-ᇿ㄰-㆏가-힣]", question) else "en"
    words, place = LINKS[language]
    link = f"[{words}]({connect_url})" if connect_url else place
    text = TEMPLATES[language].rstrip().replace("{link}", link)
    return text.replace("{question}", _quote(question))


def _quote(question: str) -> str:
    """Return the start of the question as one line of plain text, without markup and mentions."""
    unmarked = re.sub(r"\*\*|~~|`", "", question)  # a particle stays joined to a marked word
    plain = " ".join(re.sub(r"[^\w\s.,?!:;'%()/-]|_", " ", unmarked).split())
    if len(plain) <= MAX_QUOTE_LENGTH:
        return plain or "…"
    return plain[:MAX_QUOTE_LENGTH].rstrip() + "…"


def _chunks(text: str) -> Iterator[str]:
    size = -(-len(text) // CHUNKS)
    return (text[start : start + size] for start in range(0, len(text), size))


def _last_question(messages: Any) -> str:
    """Return the last user message, without its first line, which names the author."""
    questions = [m["content"] for m in messages if m["role"] == "user"]
    return questions[-1].partition("\n")[2] if questions else ""
