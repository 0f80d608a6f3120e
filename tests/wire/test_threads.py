"""Threads over the socket and REST: what followers are told, and what open threads add."""

from uuid import uuid4

from tests.live import Frame, Person, PopulatedRoom
from tests.wire.server import Server, WireClient


async def threads_told(client: WireClient, room: str, seq: int) -> int:
    """Return the number of unread threads in the activity of a room as of `seq`."""

    def is_wanted(frame: Frame) -> bool:
        is_activity = frame["type"] == "room.activity" and frame["room"] == room
        return bool(is_activity and frame["seq"] >= seq)

    delivered = await client.find(is_wanted)
    return int(delivered.get("threads", 0))


async def test_follower_is_told_of_a_reply_until_the_thread_is_read(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client, server.client(member) as other:
        root = (await client.send(room.id, "root", personas=[]))["message"]

        reply = await other.send(room.id, "reply", reply_to=root, personas=[])
        assert await threads_told(client, room.id, reply["seq"]) == 1
        await client.command("thread.read", message=root, seq=reply["seq"] + 1)
        later = await other.send(room.id, "in the room", personas=[])
        assert await threads_told(client, room.id, later["seq"]) == 0


async def test_lists_and_snapshots_have_threads_only_on_request(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client, server.client(member) as other:
        root = (await client.send(room.id, "root", personas=[]))["message"]
        reply = (await other.send(room.id, "reply", reply_to=root, personas=[]))["message"]
        fields = {"room": room.id, "after": None, "live": None}

        without = await client.command("room.join", **fields)
        opened = await client.command("room.join", **fields, threads=[root, str(uuid4())])

    assert reply not in [message["id"] for message in without["state"]["messages"]]
    in_thread = [each["id"] for each in opened["state"]["messages"] if each["thread"] == root]
    assert in_thread == [reply]

    def ids(query: str) -> list[str]:
        found = server.request("GET", f"/rooms/{room.id}/messages{query}", owner).body
        return [message["id"] for message in found["items"]]

    assert reply not in ids("")
    assert ids(f"?thread={root}") == ids(f"?thread={reply}") == [root, reply]
    assert ids("?thread=all")[:2] == [reply, root]
    unknown = server.request("GET", f"/rooms/{room.id}/messages?thread={uuid4()}", owner)
    assert unknown.status == 404


async def test_user_follows_and_leaves_a_thread_by_rest(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        root = (await client.send(room.id, "root", personas=[]))["message"]
        await client.send(room.id, "reply", reply_to=root, personas=[])

    def followed() -> list[str]:
        found = server.request("GET", f"/teams/{room.team}/threads?room={room.id}", member)
        return [item["message"]["id"] for item in found.body["items"]]

    assert server.request("PUT", f"/messages/{root}/follow", member).status == 204
    assert root in followed()
    assert server.request("DELETE", f"/messages/{root}/follow", member).status == 204
    assert root not in followed()
