"""The rules that decide who answers; `tests/js/composer.test.js` gives the page the same cases."""

import json
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest

from rooms.runs.responders import Addressed, Answering, Candidate, Place, responders, silence

TABLE: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "responders.json").read_text())


def id_of(handle: str | None) -> UUID | None:
    return None if handle is None else uuid5(NAMESPACE_OID, handle)


def ids_of(handles: list[str]) -> list[UUID]:
    return [uuid5(NAMESPACE_OID, handle) for handle in handles]


def answering(room: dict[str, Any]) -> Answering:
    personas = [
        Candidate(uuid5(NAMESPACE_OID, handle), handle, handle not in room.get("off", ()))
        for handle in room.get("personas", TABLE["personas"])
    ]
    return Answering(
        policy=room.get("policy", "default"),
        personas=personas,
        default=id_of(room.get("default")),
        muted=ids_of(room.get("muted", [])),
        mode=room.get("mode", "each"),
        lead=id_of(room.get("lead")),
    )


def addressed(message: dict[str, Any]) -> Addressed:
    return Addressed(
        mentioned=message.get("mentioned", []),
        named=ids_of(message["named"]) if "named" in message else None,
        mentions_first=message.get("mentions_first", False),
        in_turn=message.get("in_turn", False),
        place=Place(
            replied_to=id_of(message.get("replied_to")),
            in_thread=message.get("in_thread", False),
            follows=id_of(message.get("follows")),
            to_person=message.get("to_person", False),
        ),
    )


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_rules_choose_who_answers_and_why(case: dict[str, Any]) -> None:
    message, room = addressed(case["message"]), answering(case["room"])

    answers = responders(message, room)

    handles = {persona.id: persona.handle for persona in room.personas}
    named = [[handles[persona], why.value] for persona, why in answers]
    assert (named or silence(message, room).value) == case["expect"]
