"""The page of a room with more members than a state has."""

import json
import re

import pytest

from accounts.models import User
from rooms import queries, services
from tests.rooms.conftest import Cast, add_people
from tests.rooms.pages.browsing import page

pytestmark = pytest.mark.django_db


def test_page_lists_the_first_members_and_counts_all(cast: Cast) -> None:
    add_people(cast, queries.MEMBERS)

    shown = page(cast.member, cast.room)

    data = json.loads(
        re.findall(r'id="room-data" type="application/json">(.*?)</script>', shown)[0]
    )
    rows = re.findall(r'class="panel-row" data-kind="person" data-user-id="\w', shown)
    assert len(rows) == queries.MEMBERS
    assert f"<span data-panel-person-count>{queries.MEMBERS + 4}</span>" in shown
    assert data["state"]["members_complete"] is False
    assert len(data["state"]["members"]) == queries.MEMBERS


def test_page_shows_the_handle_of_an_author_who_is_not_in_the_state(cast: Cast) -> None:
    add_people(cast, queries.MEMBERS)
    author = User.objects.get(handle=f"p{queries.MEMBERS - 1}")
    services.post_message(user=author, room_id=cast.room.pk, text="hello", personas=[])
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=author.pk)

    shown = page(cast.member, cast.room)

    assert f"data-shown-handle>@{author.handle}<" in shown
