"""The protocol of the socket, tested by a client over a real connection to a real server."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.deadlines import scaled
from tests.live import CLIENT_OPTIONS, MARU_V1, Installation, Person, PopulatedRoom


@pytest.fixture(scope="module")
def room(installation: Installation) -> PopulatedRoom:
    return installation.populate(rooms=1, members=3)[0]


def handshake(installation: Installation, **options: object) -> connect:
    return connect(f"ws://127.0.0.1:{installation.port}/ws/", **CLIENT_OPTIONS, **options)  # type: ignore[arg-type]  # options are named where this is called


async def status_of(installation: Installation, **options: object) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await handshake(installation, **options)
    return refused.value.response.status_code


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_foreign_origin_is_refused_before_other_checks(
    installation: Installation, room: PopulatedRoom
) -> None:
    own = f"127.0.0.1:{installation.port}"
    for origin in (
        "https://evil.example",
        "null",
        f"https://{own}",
        f"http://{own}.evil.example",
        f"http://evil.example:{installation.port}",
        "http://127.0.0.1:1",
        f"http://localhost:{installation.port}",
        f"http://sub.{own}",
    ):
        headers = {**bearer(room.members[0].token), "Origin": origin}
        status = await status_of(installation, additional_headers=headers, subprotocols=[MARU_V1])
        assert status == 403, origin


async def test_request_without_origin_needs_a_token(installation: Installation) -> None:
    assert await status_of(installation, subprotocols=[MARU_V1]) == 403


async def test_own_origin_passes_to_the_credentials_check(installation: Installation) -> None:
    headers = {"Origin": installation.url}

    assert await status_of(installation, additional_headers=headers) == 401


@pytest.mark.parametrize("token", ["", "maru_", "maru_" + "x" * 43, "nonsense"])
async def test_invalid_credentials_are_refused(installation: Installation, token: str) -> None:
    status = await status_of(installation, additional_headers=bearer(token), subprotocols=[MARU_V1])

    assert status == 401


async def test_token_in_the_url_does_not_authenticate(
    installation: Installation, room: PopulatedRoom
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(
            f"ws://127.0.0.1:{installation.port}/ws/?token={room.members[0].token}",
            additional_headers={"Origin": installation.url},
            subprotocols=[MARU_V1],
            **CLIENT_OPTIONS,
        )
    assert refused.value.response.status_code == 401


async def test_subprotocol_must_be_offered(installation: Installation, room: PopulatedRoom) -> None:
    headers = bearer(room.members[0].token)

    assert await status_of(installation, additional_headers=headers) == 400
    assert (
        await status_of(
            installation, additional_headers=headers, subprotocols=[Subprotocol("maru.v9")]
        )
        == 400
    )


async def test_answer_streams_to_every_member(
    installation: Installation, room: PopulatedRoom
) -> None:
    asker, other = room.members[0], room.members[1]
    async with installation.socket(asker) as mine, installation.socket(other) as theirs:
        await mine.join(room.id)
        await theirs.join(room.id)

        sent = await mine.say(room.id, "what can you do?")
        await theirs.until_type("run.completed")

        deltas = theirs.of_type("message.delta")
        (completed,) = theirs.of_type("message.completed")
        assert [delta["seq"] for delta in deltas] == list(range(len(deltas)))
        streamed = "".join(delta["text"] for delta in deltas)
        assert streamed.rstrip() == completed["message"]["text"]
        assert "no model is connected" in streamed.lower() or "demo" in streamed.lower()
        assert deltas[0]["run"] in sent["result"]["runs"]
        kinds = [frame["type"] for frame in theirs.frames if "seq" in frame]
        assert [kind for kind in kinds if kind != "message.delta"] == [
            "room.snapshot",
            "message.created",
            "run.queued",
            "message.created",
            "run.started",
            "message.completed",
            "run.completed",
        ]


async def test_durable_events_have_one_order_without_gaps(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with (
        installation.socket(room.members[0]) as mine,
        installation.socket(room.members[1]) as theirs,
    ):
        start = (await mine.join(room.id))["seq"]
        await theirs.join(room.id)
        for number in range(3):
            await mine.say(room.id, f"note {number}", personas=[])
            await theirs.say(room.id, f"reply {number}", personas=[])
        await mine.until(lambda frame: frame.get("seq") == start + 6)
        await theirs.received_so_far()

        created = [frame["seq"] for frame in mine.of_type("message.created")]
        assert created == list(range(start + 1, start + 7))
        assert theirs.of_type("message.created") == mine.of_type("message.created")


async def test_rejoin_gets_the_missed_events(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with installation.socket(room.members[0]) as mine:
        start = (await mine.join(room.id))["seq"]
        await mine.command("room.leave", room=room.id)
        posted = await mine.say(room.id, "while away", personas=[])

        snapshot = await mine.join(room.id, after=start)

        assert snapshot["complete"] is True
        assert snapshot["from"] == start
        assert [event["seq"] for event in snapshot["events"]] == [start + 1]
        assert snapshot["events"][0]["message"]["id"] == posted["result"]["message"]
        assert snapshot["state"] is None


async def test_first_join_gets_the_state_of_the_room(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with installation.socket(room.members[1]) as mine:
        snapshot = await mine.join(room.id)

    state = snapshot["state"]
    assert snapshot["complete"] is False
    assert snapshot["from"] == snapshot["seq"]
    assert snapshot["events"] is None
    assert {member["user"] for member in state["members"]} == {p.user for p in room.members}
    assert state["permissions"] == ["post", "view"]
    assert state["room"]["answer_policy"] == "default"
    assert [persona["pigment"] for persona in state["personas"]]


async def test_client_ahead_of_the_log_gets_the_state_of_the_room(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with installation.socket(room.members[0]) as mine:
        snapshot = await mine.join(room.id, after=10**9)

    assert snapshot["complete"] is False
    assert snapshot["state"] is not None


async def test_join_during_an_answer_gets_the_text_so_far(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with (
        installation.socket(room.members[0]) as mine,
        installation.socket(room.members[1]) as late,
    ):
        await mine.join(room.id)
        await mine.say(room.id, "tell me")
        await mine.until(lambda frame: frame["type"] == "message.delta" and frame["seq"] == 2)

        snapshot = await late.join(room.id)
        await late.until_type("message.completed")

        (live,) = snapshot["live"]
        deltas = late.of_type("message.delta")
        assert live["from"] == 0
        assert [delta["seq"] for delta in deltas] == list(
            range(live["seq"] + 1, live["seq"] + 1 + len(deltas))
        )
        whole = live["text"] + "".join(delta["text"] for delta in deltas)
        assert whole.rstrip() == late.of_type("message.completed")[-1]["message"]["text"]


async def test_rejoin_during_an_answer_gets_only_the_missed_deltas(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with installation.socket(room.members[0]) as mine:
        await mine.join(room.id)
        await mine.say(room.id, "tell me")
        delta = await mine.until(
            lambda frame: frame["type"] == "message.delta" and frame["seq"] == 2
        )
        held = {delta["message"]: [delta["attempt"], delta["seq"]]}
        seq = max(frame["seq"] for frame in mine.frames if frame["type"] == "run.started")
        async with installation.socket(room.members[0]) as again:
            snapshot = await again.join(room.id, after=seq, **held)
            await again.until_type("message.completed")

            (live,) = snapshot["live"]
            assert live["from"] == 3
            text = "".join(frame["text"] for frame in mine.of_type("message.delta")[:3])
            text += live["text"]
            text += "".join(frame["text"] for frame in again.of_type("message.delta"))
            completed = again.of_type("message.completed")[-1]
            assert text.rstrip() == completed["message"]["text"]


async def test_cancelled_run_keeps_its_text_and_sends_no_more(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with installation.socket(room.members[1]) as mine:
        await mine.join(room.id)
        sent = await mine.say(room.id, "tell me a lot")
        (run,) = sent["result"]["runs"]
        await mine.until_type("message.delta")

        await mine.command("run.cancel", run=run)

        at = len(mine.frames)
        (updated,) = mine.of_type("message.updated")
        (cancelled,) = mine.of_type("run.cancelled")
        shown = "".join(frame["text"] for frame in mine.of_type("message.delta"))
        assert updated["message"]["status"] == "cancelled"
        assert shown.startswith(updated["message"]["text"])
        assert cancelled["run"]["stopped_by"] == room.members[1].user
        await mine.say(room.id, "later", personas=[])
        assert not [f for f in mine.frames[at:] if f["type"] == "message.delta"]


async def test_message_sent_twice_with_one_client_id_is_stored_once(
    installation: Installation, room: PopulatedRoom
) -> None:
    client_id = str(uuid4())
    async with (
        installation.socket(room.members[0]) as mine,
        installation.socket(room.members[0]) as tab,
    ):
        await mine.join(room.id)
        answers = await asyncio.gather(
            *(
                socket.say(room.id, "once", client_id=client_id, personas=[])
                for socket in (mine, tab)
            )
        )
        end = (await mine.say(room.id, "end", personas=[]))["result"]["seq"]
        if end not in {frame.get("seq") for frame in mine.of_type("message.created")}:
            await mine.until(lambda frame: frame.get("seq") == end)

        assert answers[0]["result"] == answers[1]["result"]
        texts = [frame["message"]["text"] for frame in mine.of_type("message.created")]
        assert texts == ["once", "end"]


WRONG = [
    "",
    "null",
    "[]",
    "{}",
    '{"type":"nothing","ref":"7"}',
    '{"type":"ping"}',
    '{"type":"ping","ref":"7","more":1}',
    '{"type":"ping","ref":7}',
    '{"type":"websocket.close","ref":"7"}',
    '{"type":"envelope","ref":"7"}',
    '{"type":"ping","ref":"7","__class__":"x"}',
    '{"type":"room.join","ref":"7","room":"x","after":null,"live":{}}',
    '{"type":"room.join","ref":"7","room":"%(room)s","after":-1,"live":{}}',
    '{"type":"room.join","ref":"7","room":"%(room)s","after":1.5,"live":{}}',
    '{"type":"room.join","ref":"7","room":"%(room)s","after":NaN,"live":{}}',
    '{"type":"room.join","ref":"7","room":"%(room)s","after":null}',
    '{"type":"room.join","ref":"7","room":"%(room)s","after":null,"live":{"%(room)s":[1,-1]}}',
    '{"type":"ping","ref":"7"',
    '{"type":"ping","ref":"\\ud800"}',
    "[" * 30_000,
    '{"a":' * 10_000,
    '{"type":"ping","ref":"7"}{"type":"ping","ref":"7"}',
]


@pytest.mark.parametrize("frame", WRONG, ids=range(len(WRONG)))
async def test_invalid_frames_are_refused_and_the_connection_stays_open(
    installation: Installation, room: PopulatedRoom, frame: str
) -> None:
    async with installation.socket(room.members[0]) as mine:
        await mine.connection.send(frame.replace("%(room)s", room.id))
        refused = await mine.receive()
        done = await mine.command("ping")

    assert (refused["type"], refused["code"]) == ("command.refused", "invalid")
    assert refused["ref"] in {"7", None}
    assert done["result"] == {}


async def test_binary_frames_are_refused(installation: Installation, room: PopulatedRoom) -> None:
    async with installation.socket(room.members[0]) as mine:
        await mine.connection.send(b'{"type":"ping","ref":"1"}')

        assert (await mine.receive())["code"] == "invalid"


async def test_largest_frame_is_accepted_and_one_byte_more_closes(
    installation: Installation, room: PopulatedRoom
) -> None:
    def frame(size: int) -> str:
        text = json.dumps({"type": "ping", "ref": "1", "pad": ""})
        return text.replace('""', '"' + "x" * (size - len(text)) + '"')

    async with installation.socket(room.members[0]) as mine:
        await mine.connection.send(frame(65_536))
        assert (await mine.receive())["code"] == "invalid"
        await mine.connection.send(frame(65_537))
        with pytest.raises(ConnectionClosed) as closed:
            await mine.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_text_over_the_limit_is_refused_as_too_large(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with installation.socket(room.members[0]) as mine:
        refused = await mine.say(room.id, "가" * 16_001, personas=[])

    assert (refused["type"], refused["code"]) == ("command.refused", "too_large")


async def test_commands_get_the_same_response_for_a_foreign_and_a_missing_room(
    installation: Installation, room: PopulatedRoom
) -> None:
    stranger = installation.populate(rooms=1, members=1)[0].members[0]
    nowhere = str(uuid4())
    async with installation.socket(stranger) as theirs:
        for command, fields in (
            ("room.join", {"after": None, "live": {}}),
            ("room.leave", {}),
            (
                "message.send",
                {"client_id": nowhere, "text": "hi", "reply_to": None, "personas": None},
            ),
        ):
            foreign = await theirs.command(command, room=room.id, **fields)
            absent = await theirs.command(command, room=nowhere, **fields)
            assert foreign["code"] == absent["code"] == "not_found"
            assert {**foreign, "ref": 0} == {**absent, "ref": 0}


async def test_error_detail_is_in_the_language_of_the_client(
    installation: Installation, room: PopulatedRoom
) -> None:
    person = room.members[0]
    headers = {**bearer(person.token), "Accept-Language": "ko"}
    async with handshake(
        installation, additional_headers=headers, subprotocols=[MARU_V1]
    ) as connection:
        command = {"type": "room.leave", "ref": "1", "room": str(UUID(int=1))}
        await connection.send(json.dumps(command))
        refused = json.loads(await connection.recv())

    assert any("가" <= letter <= "힣" for letter in refused["detail"])


async def test_typing_is_sent_to_other_members(
    installation: Installation, room: PopulatedRoom
) -> None:
    async with (
        installation.socket(room.members[0]) as mine,
        installation.socket(room.members[1]) as theirs,
    ):
        await mine.join(room.id)
        await theirs.join(room.id)
        await theirs.connection.send(json.dumps({"type": "member.type", "room": room.id}))

        typing = await mine.until_type("member.typing")

    assert typing == {"type": "member.typing", "room": room.id, "user": room.members[1].user}


async def test_member_in_another_room_gets_room_activity(
    installation: Installation, room: PopulatedRoom
) -> None:
    reader, writer = room.members[2], room.members[0]
    async with installation.socket(reader) as theirs, installation.socket(writer) as mine:
        await theirs.command("room.leave", room=room.id)
        posted = await mine.say(room.id, "anybody there?", personas=[])

        # An earlier message may be announced first.
        activity = await theirs.until(
            lambda frame: (
                frame["type"] == "room.activity" and frame["seq"] >= posted["result"]["seq"]
            )
        )

    assert activity["room"] == room.id
    assert activity["unread"] > 0


async def test_stranger_gets_no_room_activity(
    installation: Installation, room: PopulatedRoom
) -> None:
    stranger = installation.populate(rooms=1, members=1)[0].members[0]
    async with (
        installation.socket(stranger) as theirs,
        installation.socket(room.members[2]) as control,
        installation.socket(room.members[0]) as mine,
    ):
        await mine.say(room.id, "among us", personas=[])
        await control.until_type("room.activity")

        received = await theirs.received_so_far()

    assert [frame["type"] for frame in received] == ["command.done"]


async def test_presence_follows_connect_and_disconnect(installation: Installation) -> None:
    room = installation.populate()[0]  # a room in which no other connection is closing
    async with installation.socket(room.members[0]) as mine:
        await mine.join(room.id)
        async with installation.socket(room.members[1]) as theirs:
            snapshot = await theirs.join(room.id)
            come = await mine.until(
                lambda f: f["type"] == "presence" and f["user"] == room.members[1].user
            )
        gone = await mine.until(lambda f: f["type"] == "presence" and not f["online"])

    assert room.members[0].user in snapshot["online"]
    assert come["online"] is True
    assert gone["user"] == room.members[1].user


async def test_revoked_token_closes_its_connection(
    installation: Installation, room: PopulatedRoom
) -> None:
    token = room.members[1].token
    status, created = installation.request("POST", "/me/tokens", token, {"name": "short"})
    _, listed = installation.request("GET", "/me/tokens", token)
    second = Person(room.members[1].user, created["token"])
    async with (
        installation.socket(second) as theirs,
        installation.socket(room.members[1]) as others,
    ):
        installation.request("DELETE", f"/me/tokens/{created['id']}", token)
        with pytest.raises(ConnectionClosed) as closed:
            await theirs.receive()
        pong = await others.command("ping")

    assert status == 201
    assert created["id"] in {each["id"] for each in listed["items"]}
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    assert pong["type"] == "command.done"


async def test_expired_token_closes_its_connection(
    installation: Installation, room: PopulatedRoom
) -> None:
    token = room.members[1].token
    expires_at = (datetime.now(UTC) + timedelta(seconds=scaled(3))).isoformat()
    _, created = installation.request(
        "POST", "/me/tokens", token, {"name": "brief", "expires_at": expires_at}
    )
    async with installation.socket(Person(room.members[1].user, created["token"])) as theirs:
        await theirs.join(room.id)
        with pytest.raises(ConnectionClosed) as closed:
            await theirs.until_type("never")

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
