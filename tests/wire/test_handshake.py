"""The WebSocket handshake, frame limits, and revoked credentials."""

import asyncio
import json
import re
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.compact import BOTH, COMPACT
from tests.deadlines import REVOCATION
from tests.live import CLIENT_OPTIONS, MARU_V1, Person, PopulatedRoom
from tests.wire.server import Server
from tests.wire.shapes import ERROR, check

LIMIT = 65_536
OTHER = Subprotocol("other.v1")
FOREIGN = ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"]


async def refusal(
    server: Server,
    *,
    origin: str | None = None,
    token: str | None = None,
    offers: tuple[Subprotocol, ...] = (MARU_V1,),
    query: str = "",
) -> int:
    """Return the status with which this handshake is refused."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if origin:
        headers["Origin"] = origin
    url = f"ws://127.0.0.1:{server.installation.port}/ws/{query}"
    with pytest.raises(InvalidStatus) as refused:
        await connect(
            url, additional_headers=headers, subprotocols=offers or None, **CLIENT_OPTIONS
        )
    return refused.value.response.status_code


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_origin_is_refused_before_any_other_check(
    server: Server, owner: Person, origin: str
) -> None:
    assert await refusal(server, origin=origin, token=owner.token) == 403
    assert await refusal(server, origin=origin, token="maru_dead") == 403
    assert await refusal(server, origin=origin, offers=()) == 403


async def test_handshake_without_origin_needs_a_bearer_token(server: Server) -> None:
    assert await refusal(server) == 403
    assert await refusal(server, offers=()) == 403


async def test_invalid_credentials_are_refused_before_the_subprotocol(
    server: Server, owner: Person
) -> None:
    own = server.installation.url
    ended, token = server.create_token(owner)
    server.request("DELETE", f"/me/tokens/{ended}", owner)

    assert await refusal(server, origin=own) == 401
    assert await refusal(server, origin=own, offers=()) == 401
    assert await refusal(server, token="maru_dead", offers=()) == 401
    assert await refusal(server, token=token) == 401
    assert await refusal(server, origin=own, query=f"?token={owner.token}") == 401


async def test_missing_subprotocol_is_refused_last(server: Server, owner: Person) -> None:
    own = server.installation.url

    assert await refusal(server, token=owner.token, offers=()) == 400
    assert await refusal(server, token=owner.token, origin=own, offers=(OTHER,)) == 400
    assert await refusal(server, token=owner.token, offers=(COMPACT,)) == 400


async def test_refused_handshake_names_the_missing_subprotocol(
    server: Server, owner: Person
) -> None:
    headers = {"Authorization": f"Bearer {owner.token}", "Accept-Language": "ko"}
    url = f"ws://127.0.0.1:{server.installation.port}/ws/"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=headers, subprotocols=[OTHER], **CLIENT_OPTIONS)

    answer = json.loads(refused.value.response.body)
    check(ERROR, answer)
    assert answer["code"] == "invalid"
    assert "maru.v1" in answer["detail"]
    assert re.search("[가-힣]", answer["detail"])
    assert [*answer["fields"]] == ["Sec-WebSocket-Protocol"]


async def test_server_selects_its_subprotocol(server: Server, owner: Person) -> None:
    async with connect(
        f"ws://127.0.0.1:{server.installation.port}/ws/",
        additional_headers={
            "Authorization": f"Bearer {owner.token}",
            "Origin": server.installation.url,
        },
        subprotocols=[OTHER, MARU_V1],
        **CLIENT_OPTIONS,
    ) as connection:
        assert connection.subprotocol == MARU_V1


@pytest.mark.parametrize("offers", [BOTH, (COMPACT, OTHER, MARU_V1)])
async def test_server_prefers_the_compact_subprotocol(
    server: Server, owner: Person, offers: tuple[Subprotocol, ...]
) -> None:
    async with server.client(owner, offers) as client:
        assert client.connection.subprotocol == COMPACT


async def test_revoked_token_closes_its_connections(server: Server, owner: Person) -> None:
    ended, token = server.create_token(owner)
    async with server.client(token) as client, server.client(owner) as other:
        await client.command("ping")

        server.request("DELETE", f"/me/tokens/{ended}", owner)

        async with asyncio.timeout(REVOCATION):
            with pytest.raises(ConnectionClosed):
                await client.receive()
        assert client.connection.close_code == 4401
        assert (await other.command("ping"))["type"] == "command.done"


async def test_frame_of_exactly_the_limit_is_accepted(server: Server, owner: Person) -> None:
    async with server.client(owner) as client:
        await client.send_raw(json.dumps({"type": "ping", "ref": "full"}).ljust(LIMIT))

        assert (await client.receive())["ref"] == "full"


async def test_larger_frame_closes_the_connection_with_1009(server: Server, owner: Person) -> None:
    async with server.client(owner) as client:
        with pytest.raises(ConnectionClosed):
            await client.send_raw(json.dumps({"type": "ping", "ref": "over"}).ljust(LIMIT + 1))
            await client.receive()

        assert client.connection.close_code == 1009


async def test_invalid_utf8_closes_the_connection_with_1007(server: Server, owner: Person) -> None:
    async with server.client(owner) as client:
        with pytest.raises(ConnectionClosed):
            await client.connection.send(b'{"type":"ping","ref":"\xff\xfe"}', text=True)
            await client.receive()

        assert client.connection.close_code == 1007


async def test_one_connection_serves_several_rooms(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    first, second = rooms[0], rooms[2]
    person = second.members[0]
    server.allow(first, person)
    server.request(
        "PUT", f"/rooms/{first.id}/members/{person.user}", first.members[0], {"role": "member"}
    )
    async with server.client(person) as client:
        await client.join(first.id)
        await client.join(second.id)

        for room in (first, second):
            sent = await client.send(room.id, f"hello {uuid4()}")
            delivered = await client.event("message.created", seq=sent["seq"], room=room.id)
            assert delivered["message"]["id"] == sent["message"]


async def test_upgrade_of_another_path_gets_404(server: Server, owner: Person) -> None:
    before = len(server.installation.output)
    headers = {"Authorization": f"Bearer {owner.token}"}
    url = f"ws://127.0.0.1:{server.installation.port}/elsewhere/"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=headers, subprotocols=[MARU_V1], **CLIENT_OPTIONS)

    assert refused.value.response.status_code == 404
    assert "Traceback" not in server.installation.output[before:]


@pytest.mark.parametrize("host", ["[", "[::1", "a]b"])
async def test_invalid_host_is_refused_without_a_traceback(server: Server, host: str) -> None:
    before = len(server.installation.output)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.installation.port)
    writer.write(
        f"GET /ws/ HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: bWFydSBtYXJ1IG1hcnUhIQ==\r\n\r\n".encode()
    )
    answer = await reader.readline()
    writer.close()

    assert answer.split()[1] == b"403"
    assert "Traceback" not in server.installation.output[before:]
