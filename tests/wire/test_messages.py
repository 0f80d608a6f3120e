"""Editing, deleting and reacting, by command and by REST."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from tests.live import Frame, Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server, WireClient, streamed
from tests.wire.shapes import MESSAGE, check

SECRET = "바람이 전한 비밀"


@pytest.fixture
async def client(server: Server, owner: Person, room: PopulatedRoom) -> AsyncIterator[WireClient]:
    async with server.client(owner) as opened:
        await opened.join(room.id)
        yield opened


@pytest.fixture
async def theirs(server: Server, member: Person, room: PopulatedRoom) -> AsyncIterator[WireClient]:
    async with server.client(member) as opened:
        await opened.join(room.id)
        yield opened


async def answered(client: WireClient, room: str) -> str:
    """Ask a persona; return the id of its answer."""
    run = await client.ask(room, "echo")
    answer: str = (await client.ended(run))["run"]["answer"]
    return answer


async def test_author_edits_the_message(
    server: Server,
    client: WireClient,
    theirs: WireClient,
    member: Person,
    owner: Person,
    room: PopulatedRoom,
) -> None:
    sent = await theirs.send(room.id, "**befor**")
    handle = server.request("GET", "/me", owner).body["handle"]

    done = await theirs.command("message.edit", message=sent["message"], text=f"*after* @{handle}")
    event = await client.event("message.updated")

    message = event["message"]
    assert done["result"] == {}
    assert message["text"] == f"*after* @{handle}"
    assert "<em>after</em>" in message["html"]
    assert f'data-handle="{handle}"' in message["html"]
    assert message["edited_at"] is not None
    assert message["seq"] == sent["seq"] < event["seq"]
    assert server.request("GET", f"/messages/{sent['message']}", owner).body == message


async def test_edit_by_rest_sends_the_same_event(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    sent = await client.send(room.id, "before")
    changed = server.request("PATCH", f"/messages/{sent['message']}", owner, {"text": "after"})
    event = await client.event("message.updated")

    check(MESSAGE, changed.body)
    assert changed.body == event["message"]


async def test_edit_without_a_change_creates_no_event(
    client: WireClient, room: PopulatedRoom
) -> None:
    sent = await client.send(room.id, "the same")
    await client.command("message.edit", message=sent["message"], text="the same")
    later = await client.send(room.id, "later")

    assert later["seq"] == sent["seq"] + 1


async def test_only_the_author_edits_a_message(
    server: Server,
    client: WireClient,
    theirs: WireClient,
    owner: Person,
    member: Person,
    room: PopulatedRoom,
) -> None:
    posted = (await theirs.send(room.id, "mine"))["message"]
    answer = await answered(theirs, room.id)
    before = server.request("GET", f"/rooms/{room.id}/messages", owner).body

    for message in (posted, answer):
        assert (
            await client.refusal_code("message.edit", message=message, text="yours") == "forbidden"
        )
        for body in ({"text": "yours"}, {"text": ""}, b"{"):
            refused = server.request("PATCH", f"/messages/{message}", owner, body)
            assert (refused.status, refused.code) == (403, "forbidden")
    assert await theirs.refusal_code("message.edit", message=answer, text="mine") == "forbidden"
    assert server.request("GET", f"/rooms/{room.id}/messages", owner).body == before


async def test_member_cannot_delete_messages_of_others(
    server: Server, client: WireClient, theirs: WireClient, member: Person, room: PopulatedRoom
) -> None:
    posted = (await client.send(room.id, "stays"))["message"]
    answer = await answered(theirs, room.id)  # the asker does not own the answer

    for message in (posted, answer):
        assert await theirs.refusal_code("message.delete", message=message) == "forbidden"
        assert server.request("DELETE", f"/messages/{message}", member).code == "forbidden"
        assert server.request("GET", f"/messages/{message}", member).body["deleted"] is False


async def test_reader_cannot_change_own_messages(
    server: Server, client: WireClient, room: PopulatedRoom, owner: Person
) -> None:
    reader = room.members[3]
    async with server.client(reader) as reading:
        posted = (await reading.send(room.id, "mine"))["message"]
        path = f"/rooms/{room.id}/members/{reader.user}"
        server.request("PUT", path, owner, {"role": "reader"})
        reaction = {"message": posted, "emoji": "👍", "on": True}

        assert await reading.refusal_code("message.edit", message=posted, text="x") == "forbidden"
        assert await reading.refusal_code("message.delete", message=posted) == "forbidden"
        assert await reading.refusal_code("message.react", **reaction) == "forbidden"
    server.request("PUT", path, owner, {"role": "member"})


async def test_deleted_text_is_removed_everywhere(
    server: Server,
    client: WireClient,
    theirs: WireClient,
    owner: Person,
    member: Person,
    room: PopulatedRoom,
) -> None:
    known = (await client.join(room.id))["seq"]
    posted = (await theirs.send(room.id, SECRET))["message"]
    await theirs.command("message.edit", message=posted, text=f"{SECRET}, 다시")
    await theirs.command("message.react", message=posted, emoji="🌬️", on=True)
    assert (
        SECRET
        in server.request("GET", f"/rooms/{room.id}/events?after={known}", owner).raw.decode()
    )

    await theirs.command("message.delete", message=posted)
    event = await client.event("message.deleted")

    message = event["message"]
    assert (message["text"], message["html"], message["deleted"]) == ("", "", True)
    assert message["reactions"] == {}
    async with server.client(owner) as later_client:
        missed = await later_client.join(room.id, known)
        snapshot = await later_client.join(room.id)
        received = str(later_client.frames)
    assert missed["complete"]
    assert [e["type"] for e in missed["events"]][-1] == "message.deleted"
    assert SECRET not in received
    shown = next(m for m in snapshot["state"]["messages"] if m["id"] == posted)
    assert shown == message
    for path in (
        f"/messages/{posted}",
        f"/rooms/{room.id}/messages?limit=200",
        f"/rooms/{room.id}/events?after={known}",
    ):
        assert SECRET not in server.request("GET", path, owner).raw.decode(), path
    asked = len(server.provider.requests)
    await client.ended(await client.ask(room.id, "echo", "What was said?"))
    prompts = str([request.body for request in server.provider.requests[asked:]])
    assert "What was said?" in prompts
    assert SECRET not in prompts


async def test_second_delete_creates_no_event(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    posted = await client.send(room.id, "once")
    first = server.request("DELETE", f"/messages/{posted['message']}", owner)
    again = await client.command("message.delete", message=posted["message"])
    later = await client.send(room.id, "later")

    assert first.status == 204
    assert again["result"] == {}
    assert later["seq"] == posted["seq"] + 2
    for command, fields in (
        ("message.edit", {"text": "back"}),
        ("message.react", {"emoji": "👍", "on": True}),
    ):
        assert await client.refusal_code(command, message=posted["message"], **fields) == "conflict"


async def test_moderator_deletes_a_streaming_answer(
    server: Server, client: WireClient, theirs: WireClient, room: PopulatedRoom
) -> None:
    known = (await client.join(room.id))["seq"]
    run = await theirs.ask(room.id, "tokens-6000@50")
    shown = streamed([await theirs.event("message.delta", run)])
    answer = (await theirs.event("run.started", run))["run"]["answer"]

    await client.command("message.delete", message=answer)
    cancelled = await theirs.event("run.cancelled", run)
    deleted = await theirs.event("message.deleted")
    at = theirs.frames.index(deleted)
    await client.send(room.id, "quiet now")
    await theirs.received_so_far()

    assert cancelled["run"]["stopped_by"] == room.members[0].user
    assert streamed(theirs.frames[at:]) == ""
    log = server.request("GET", f"/rooms/{room.id}/events?after={known}", room.members[0])
    texts = [e["message"]["text"] for e in log.body["items"] if "html" in e.get("message", ())]
    assert shown
    assert texts == ["Well?", "", "", "", "quiet now"]
    assert deleted["message"]["status"] == "cancelled"


async def test_deleting_a_question_cancels_its_runs(
    server: Server, client: WireClient, room: PopulatedRoom
) -> None:
    asked = [client.personas[name] for name in ("tokens-6000@50", "fault-hang")]
    sent = await client.send(room.id, "이제 그만", personas=asked)
    for run in sent["runs"]:
        await client.event("run.started", run)

    await client.command("message.delete", message=sent["message"])
    ends = [await client.ended(run) for run in sent["runs"]]

    assert {end["type"] for end in ends} == {"run.cancelled"}
    assert await client.refusal_code("run.retry", run=sent["runs"][0]) == "conflict"


async def test_reactions_list_users_and_are_sent_to_members(
    server: Server,
    client: WireClient,
    theirs: WireClient,
    owner: Person,
    member: Person,
    room: PopulatedRoom,
) -> None:
    posted = (await client.send(room.id, "좋아요?"))["message"]

    async def reactions_sent(client: WireClient) -> Frame:
        event = await client.until_type("reaction.changed")
        assert event["message"] == posted
        reactions: Frame = event["reactions"]
        return reactions

    await client.command("message.react", message=posted, emoji="👍", on=True)
    assert await reactions_sent(theirs) == {"👍": [owner.user]}
    path = f"/messages/{posted}/reactions/{quote('👍')}"
    assert server.request("PUT", path, member).status == 204
    assert await reactions_sent(theirs) == {"👍": [owner.user, member.user]}
    shown = server.request("GET", f"/messages/{posted}", owner).body["reactions"]
    assert shown == {"👍": [owner.user, member.user]}
    await client.command("message.react", message=posted, emoji="👍", on=False)
    assert await reactions_sent(theirs) == {"👍": [member.user]}
    assert server.request("DELETE", path, member).status == 204
    assert await reactions_sent(theirs) == {}


async def test_repeated_reaction_creates_no_event(client: WireClient, room: PopulatedRoom) -> None:
    posted = await client.send(room.id, "once")
    for on in (False, True, True, False, False):
        await client.command("message.react", message=posted["message"], emoji="✅", on=on)
    later = await client.send(room.id, "later")

    assert later["seq"] == posted["seq"] + 3


async def test_reaction_to_a_streaming_answer_is_kept(
    server: Server, client: WireClient, room: PopulatedRoom, owner: Person
) -> None:
    run = await client.ask(room.id, "held-12@15")
    await client.event("message.delta", run)
    answer = (await client.event("run.started", run))["run"]["answer"]
    await client.command("message.react", message=answer, emoji="👀", on=True)
    server.provider.release()
    completed = await client.event("message.completed", run)

    assert completed["message"]["reactions"] == {"👀": [owner.user]}


async def test_unknown_message_is_not_found(
    server: Server, client: WireClient, rooms: list[PopulatedRoom], foreign: PopulatedRoom
) -> None:
    async with (
        server.client(rooms[1].members[0]) as outside,
        server.client(foreign.members[0]) as foreign_client,
    ):
        outside_message = (await outside.send(rooms[1].id, "there"))["message"]
        foreign_message = (await foreign_client.send(foreign.id, "yonder"))["message"]
    details = set()
    for message in (UNKNOWN_ID, outside_message, foreign_message):
        for kind, fields in (
            ("message.edit", {"text": ""}),
            ("message.delete", {}),
            ("message.react", {"emoji": "nonsense", "on": True}),
        ):
            answer = await client.command(kind, message=message, **fields)
            assert answer["code"] == "not_found"
            details.add(answer["detail"])
    assert len(details) == 1


async def test_edited_text_has_the_limits_of_a_message(
    client: WireClient, room: PopulatedRoom
) -> None:
    posted = (await client.send(room.id, "fine"))["message"]

    for text, code in (("", "invalid"), (" \n", "invalid"), ("x" * 16_001, "too_large")):
        assert await client.refusal_code("message.edit", message=posted, text=text) == code
    done = await client.command("message.edit", message=posted, text="x" * 16_000)
    assert done["type"] == "command.done"
