"""A client of the subprotocol `maru.v1.compact`: it turns its frames into those of `maru.v1`."""

from dataclasses import dataclass, field

from websockets.typing import Subprotocol

from tests.live import MARU_V1, Frame

COMPACT = Subprotocol("maru.v1.compact")
BOTH = (MARU_V1, COMPACT)


@dataclass
class CompactAnswers:
    """The attempts of answers, by the number that frames have told."""

    attempts: dict[int, Frame] = field(default_factory=dict)

    def expand(self, frame: Frame) -> Frame:
        """Return the frame as `maru.v1` has it; raise KeyError for an unknown or missing number."""
        if set(frame) == {"d"}:
            stream, seq, text = frame["d"]
            return {"type": "message.delta", **self.attempts[stream], "seq": seq, "text": text}
        for event in (frame, *(frame.get("events") or ())):
            if event["type"] == "run.started":
                run = event["run"]
                attempt = {"run": run["id"], "message": run["answer"], "attempt": run["attempt"]}
                self._add(event, {"room": event["room"], **attempt})
        for live in frame.get("live", ()):
            attempt = {key: live[key] for key in ("run", "message", "attempt")}
            self._add(live, {"room": frame["room"], **attempt})
        return frame

    def _add(self, told: Frame, attempt: Frame) -> None:
        """Record the number of an attempt; raise AssertionError if it is that of another one."""
        assert self.attempts.setdefault(told.pop("stream"), attempt) == attempt
