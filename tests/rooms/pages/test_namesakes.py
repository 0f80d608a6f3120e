"""The page shows the handle of each author whose name is like another name in the room."""

import json
import re
import shutil
import subprocess

import pytest
from django.test import Client
from django.urls import reverse

from accounts.names import LOOK_ALIKES, look_alike_key
from accounts.services import update_profile
from rooms import services
from tests.live import ROOT
from tests.rooms.conftest import Cast
from tests.rooms.runs.test_labels import ALIKE

DIFFERENT = [("Kim", "Kem"), ("가람", "나람"), ("Mina", "Nina"), ("Kim", "Kim 2")]
SCRIPT = """
import { lookAlikeKey, setLookAlikes, shownHandle } from "./static/rooms/namesakes.js";
const { table, pairs } = JSON.parse(process.argv[1]);
setLookAlikes(table);
const members = new Map([["1", { user: "1", name: "Kim" }], ["2", { user: "2", name: "Mina" }]]);
const personas = new Map([["3", { id: "3", name: "mina" }]]);
const state = { members, membersComplete: true, personas };
const shown = (id, name) => shownHandle(state, { id, name, handle: "h" });
console.log(JSON.stringify({
  alike: pairs.map(([one, other]) => lookAlikeKey(one) === lookAlikeKey(other)),
  shown: [shown("1", "Kim"), shown("2", "Mina"), shown("3", "mina"), shown("gone", "K\\u0456m"),
          shown(null, "Other")],
}));
"""


def shown_handles(page: str) -> list[str]:
    return re.findall(r"data-shown-handle>(@[^<]+)<", page)


@pytest.mark.django_db
def test_handles_are_shown_where_names_are_alike(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.owner)
    address = reverse("rooms:room", args=[cast.room.pk])
    for user in (cast.owner, cast.moderator):
        services.post_message(user=user, room_id=cast.room.pk, text="hello", personas=[])
    assert shown_handles(client.get(address).content.decode()) == []

    update_profile(user=cast.member, name="0wner")
    update_profile(user=cast.reader, name=cast.persona.name.upper())

    shown = shown_handles(client.get(address).content.decode())
    # The message of the owner, and the two pairs in the panel.
    assert sorted(shown) == ["@garam", "@member", "@owner", "@owner", "@reader"]


def test_scripts_compare_names_as_the_server_does() -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed.")
    pairs = [*ALIKE, *DIFFERENT]
    table = {chr(letter): chr(like) for letter, like in LOOK_ALIKES.items()}
    command = [
        "node",
        "--input-type=module",
        "-e",
        SCRIPT,
        json.dumps({"table": table, "pairs": pairs}),
    ]

    answer = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)

    assert answer["alike"] == [look_alike_key(a) == look_alike_key(b) for a, b in pairs]
    assert answer["alike"] == [True] * len(ALIKE) + [False] * len(DIFFERENT)
    assert answer["shown"] == ["", "@h", "@h", "@h", ""]
