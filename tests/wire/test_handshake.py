"""Who gets a socket, and what ends one."""

import asyncio
import json
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.deadlines import REVOCATION
from tests.live import CLIENT_OPTIONS, MARU_V1, Person, PopulatedRoom
from tests.wire.house import House

LIMIT = 65_536
OTHER = Subprotocol("other.v1")
FOREIGN = ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"]


async def refusal(
    house: House,
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
    url = f"ws://127.0.0.1:{house.installation.port}/ws/{query}"
    with pytest.raises(InvalidStatus) as refused:
        await connect(
            url, additional_headers=headers, subprotocols=offers or None, **CLIENT_OPTIONS
        )
    return refused.value.response.status_code


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_origin_is_refused_before_anything_else_is_looked_at(
    house: House, owner: Person, origin: str
) -> None:
    assert await refusal(house, origin=origin, token=owner.token) == 403
    assert await refusal(house, origin=origin, token="maru_dead") == 403
    assert await refusal(house, origin=origin, offers=()) == 403


async def test_no_origin_is_for_bearer_tokens_only(house: House) -> None:
    assert await refusal(house) == 403
    assert await refusal(house, offers=()) == 403


async def test_no_or_dead_credentials_are_refused_before_the_subprotocol(
    house: House, owner: Person
) -> None:
    own = house.installation.url
    ended, token = house.token_of(owner)
    house.ask("DELETE", f"/me/tokens/{ended}", owner)

    assert await refusal(house, origin=own) == 401
    assert await refusal(house, origin=own, offers=()) == 401
    assert await refusal(house, token="maru_dead", offers=()) == 401
    assert await refusal(house, token=token) == 401
    assert await refusal(house, origin=own, query=f"?token={owner.token}") == 401


async def test_handshake_without_our_subprotocol_is_refused_last(
    house: House, owner: Person
) -> None:
    own = house.installation.url

    assert await refusal(house, token=owner.token, offers=()) == 400
    assert await refusal(house, token=owner.token, origin=own, offers=(OTHER,)) == 400


async def test_our_subprotocol_is_chosen_among_others(house: House, owner: Person) -> None:
    async with connect(
        f"ws://127.0.0.1:{house.installation.port}/ws/",
        additional_headers={
            "Authorization": f"Bearer {owner.token}",
            "Origin": house.installation.url,
        },
        subprotocols=[OTHER, MARU_V1],
        **CLIENT_OPTIONS,
    ) as connection:
        assert connection.subprotocol == MARU_V1


async def test_end_of_a_token_ends_its_sockets(house: House, owner: Person) -> None:
    ended, token = house.token_of(owner)
    async with house.tab(token) as tab, house.tab(owner) as other:
        await tab.command("ping")

        house.ask("DELETE", f"/me/tokens/{ended}", owner)

        async with asyncio.timeout(REVOCATION):
            with pytest.raises(ConnectionClosed):
                await tab.receive()
        assert tab.connection.close_code == 4401
        assert (await other.command("ping"))["type"] == "command.done"


async def test_frame_of_exactly_the_limit_passes(house: House, owner: Person) -> None:
    async with house.tab(owner) as tab:
        await tab.tell(json.dumps({"type": "ping", "ref": "full"}).ljust(LIMIT))

        assert (await tab.receive())["ref"] == "full"


async def test_larger_frame_closes_1009(house: House, owner: Person) -> None:
    async with house.tab(owner) as tab:
        with pytest.raises(ConnectionClosed):
            await tab.tell(json.dumps({"type": "ping", "ref": "over"}).ljust(LIMIT + 1))
            await tab.receive()

        assert tab.connection.close_code == 1009


async def test_broken_text_closes_1007(house: House, owner: Person) -> None:
    async with house.tab(owner) as tab:
        with pytest.raises(ConnectionClosed):
            await tab.connection.send(b'{"type":"ping","ref":"\xff\xfe"}', text=True)
            await tab.receive()

        assert tab.connection.close_code == 1007


async def test_one_socket_serves_many_rooms(house: House, rooms: list[PopulatedRoom]) -> None:
    first, second = rooms[0], rooms[2]
    person = second.members[0]
    house.expect_in(first, person)
    house.ask(
        "PUT", f"/rooms/{first.id}/members/{person.user}", first.members[0], {"role": "member"}
    )
    async with house.tab(person) as tab:
        await tab.join(first.id)
        await tab.join(second.id)

        for room in (first, second):
            sent = await tab.send(room.id, f"hello {uuid4()}")
            told = await tab.event("message.created", seq=sent["seq"], room=room.id)
            assert told["message"]["id"] == sent["message"]


async def test_where_there_is_no_socket_it_says_so(house: House, owner: Person) -> None:
    before = len(house.installation.output)
    headers = {"Authorization": f"Bearer {owner.token}"}
    url = f"ws://127.0.0.1:{house.installation.port}/elsewhere/"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=headers, subprotocols=[MARU_V1], **CLIENT_OPTIONS)

    assert refused.value.response.status_code == 404
    assert "Traceback" not in house.installation.output[before:]


@pytest.mark.parametrize("host", ["[", "[::1", "a]b"])
async def test_a_host_that_is_none_is_refused_without_a_trace(house: House, host: str) -> None:
    before = len(house.installation.output)
    reader, writer = await asyncio.open_connection("127.0.0.1", house.installation.port)
    writer.write(
        f"GET /ws/ HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: bWFydSBtYXJ1IG1hcnUhIQ==\r\n\r\n".encode()
    )
    answer = await reader.readline()
    writer.close()

    assert answer.split()[1] == b"403"
    assert "Traceback" not in house.installation.output[before:]
