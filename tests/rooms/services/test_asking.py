"""Who is asked is whom the page shows as mentioned, and rendering holds no room."""

import re
from html import unescape
from uuid import UUID

import pytest
from django.db import connection

from accounts.errors import Invalid
from agents.services import create_persona
from rooms import markup, services
from rooms.fanout.unread import count_unread
from rooms.models import AnswerPolicy, Message, Run
from rooms.runs import lifecycle
from rooms.templatetags.timeline_tags import addressed_to
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import answer

pytestmark = pytest.mark.django_db

HANDLES = ["봇", "bot", "bot-dev", "data_bot", "나리", "gpt4o", "도우미"]

# fmt: off
ASKING = {
    "@bot/@나리": ["bot", "나리"], "@bot님께서는 아시나요": ["bot"], "@나리에게도 알려줘": ["나리"],
    "@나리로부터": ["나리"], "@나리예요?": ["나리"], "@도우미님들": ["도우미"],
    "@botは元気?": ["bot"], "@ｂｏｔ hi": ["bot"], "\\@bot": [], "`@bot`": [],
    "    @bot indented": [], "> @bot said": [],
    "_@bot_ hi": ["bot"], "[@bot](https://a.example)": [], "@data_bot_ go": ["data_bot"],
    "@data\\_bot go": ["data_bot"], "@\u1102\u1161\u1105\u1175 안녕": ["나리"],
    "a@bot.example": [], "@봇이에요 @bot-dev": ["봇", "bot-dev"], "hello": [],
    "```\n@bot\n```\n@gpt4o": ["gpt4o"],
}
# fmt: on


@pytest.fixture
def room(cast: Cast) -> Cast:
    """A room of the policy "mention" with a persona for each of HANDLES."""
    connection_id = cast.persona.connection_id
    assert connection_id is not None
    for handle in HANDLES:
        persona = create_persona(
            user=cast.owner,
            team_id=cast.team.pk,
            name=handle,
            handle=handle,
            connection=connection_id,
            model=cast.persona.model,
            role="Guide",
            goal="Answer.",
        )
        services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk)
    services.update_room(user=cast.owner, room_id=cast.room.pk, answer_policy=AnswerPolicy.MENTION)
    return cast


def chips(html: str) -> set[str]:
    return {unescape(one) for one in re.findall(r'class="mention" data-handle="([^"]*)"', html)}


def test_personas_that_answer_are_those_shown_as_mentioned(room: Cast) -> None:
    for text, expected in ASKING.items():
        posted = services.post_message(user=room.member, room_id=room.room.pk, text=text)
        runs = Run.objects.filter(pk__in=posted.runs)

        assert set(runs.values_list("persona__handle", flat=True)) == set(expected), text
        assert chips(posted.message.html) == set(expected), text
        services.delete_message(user=room.member, message_id=posted.message.pk)


def test_mentioned_personas_answer_instead_of_chosen_ones(room: Cast) -> None:
    def asked(text: str, personas: list[UUID], *, mentions_first: bool = False) -> set[str]:
        posted = services.post_message(
            user=room.member,
            room_id=room.room.pk,
            text=text,
            personas=personas,
            mentions_first=mentions_first,
        )
        runs = Run.objects.filter(pk__in=posted.runs)
        return set(runs.values_list("persona__handle", flat=True))

    chosen = [room.persona.pk]
    assert asked("hello", personas=chosen, mentions_first=True) == {room.persona.handle}
    assert asked("@bot", personas=chosen, mentions_first=True) == {"bot"}
    assert asked("`@bot`", personas=chosen, mentions_first=True) == {room.persona.handle}
    assert asked("@bot", personas=chosen) == {room.persona.handle}
    assert asked("@bot", personas=[], mentions_first=True) == set()


@pytest.mark.parametrize("policy", [AnswerPolicy.DEFAULT, AnswerPolicy.THREAD])
def test_persona_that_was_asked_last_follows_a_thread(room: Cast, policy: str) -> None:
    services.update_room(user=room.owner, room_id=room.room.pk, answer_policy=policy)
    root = services.post_message(user=room.owner, room_id=room.room.pk, text="root", personas=[])

    def asked(text: str, to: UUID = root.message.pk) -> list[tuple[str, str]]:
        posted = services.post_message(
            user=room.member, room_id=room.room.pk, text=text, reply_to=to
        )
        said.append(posted.message.pk)
        runs = Run.objects.filter(pk__in=posted.runs)
        return list(runs.values_list("persona__handle", "why"))

    said: list[UUID] = []
    default = [(room.persona.handle, "policy")] if policy == AnswerPolicy.DEFAULT else []
    assert asked("nobody was asked here yet") == default
    assert asked("@bot, what is it?") == [("bot", "mention")]
    assert asked("and then?") == [("bot", "thread")]  # bot has not answered yet
    for job in iter(lambda: claim_and_start("worker"), None):
        assert job[1] is not None
        lifecycle.complete(job[1], "an answer", None)
        said.append(job[1].message)
    assert asked("and then?") == [("bot", "thread")]
    assert asked("this is for you", to=said[0]) == []
    assert asked(f"@{room.reader.handle}, look") == []
    answer = Message.objects.filter(persona__handle="bot").latest("seq")
    assert answer.persona_id is not None
    assert asked("and you?", to=answer.pk) == [("bot", "reply")]
    services.mute_persona(
        user=room.owner, room_id=room.room.pk, persona_id=answer.persona_id, muted=True
    )
    assert asked("and then?") == default


def test_thread_below_an_answer_follows_the_persona_that_spoke_last(room: Cast) -> None:
    services.update_room(user=room.owner, room_id=room.room.pk, answer_policy=AnswerPolicy.DEFAULT)
    own, root = room.persona.handle, answer(room).answer
    assert root is not None

    def asked(text: str) -> list[tuple[str, str]]:
        posted = services.post_message(
            user=room.member, room_id=room.room.pk, text=text, reply_to=root.pk
        )
        for job in iter(lambda: claim_and_start("worker"), None):
            assert job[1] is not None
            lifecycle.complete(job[1], "an answer", None)
        runs = Run.objects.filter(pk__in=posted.runs)
        return list(runs.values_list("persona__handle", "why"))

    assert asked("what is it?") == [(own, "reply")]
    assert asked("@bot, and you?") == [("bot", "mention")]
    assert asked("go on") == [("bot", "thread")]
    assert asked(f"@{room.reader.handle}, look") == []
    Message.objects.filter(thread_root=root, persona__isnull=False).update(replaced_by=root.pk)
    assert asked("nobody else has spoken here") == [(own, "thread")]


def test_edit_shows_mentions_by_the_same_rules(room: Cast) -> None:
    message = services.post_message(user=room.member, room_id=room.room.pk, text="x").message

    for text, expected in ASKING.items():
        edited = services.edit_message(user=room.member, message_id=message.pk, text=text)
        assert chips(edited.html) == set(expected)


def test_unread_mentions_are_those_of_chips(cast: Cast) -> None:
    handle = cast.reader.handle
    texts = [
        f"@{handle}",
        f"`@{handle}`",
        f"> @{handle}",
        f'data-handle="{handle}"',
        f"\\@{handle}",
    ]
    for text in texts:
        services.post_message(user=cast.member, room_id=cast.room.pk, text=text, personas=[])

    (unread,) = count_unread({cast.room.pk}, {cast.reader.pk})

    assert (unread.messages, unread.mentions) == (len(texts), 1)
    forged = markup.render(f'data-handle="{handle}"', [handle])
    assert addressed_to(forged, handle) == forged


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\u200b", "\u200b\u200d", "\u3164", "\u2800", "\ufe0f", "\u00ad \u115f"]
)
def test_text_without_visible_characters_is_refused(cast: Cast, text: str) -> None:
    message = services.post_message(user=cast.member, room_id=cast.room.pk, text="a", personas=[])

    with pytest.raises(Invalid) as refused:
        services.post_message(user=cast.member, room_id=cast.room.pk, text=text)
    assert "Write something first." in str(refused.value.detail)
    with pytest.raises(Invalid):
        services.edit_message(user=cast.member, message_id=message.message.pk, text=text)


@pytest.mark.parametrize("text", ["①", "🇰🇷", "🫨", ".", "ㅋ", "\u0301"])
def test_text_with_one_visible_character_is_accepted(cast: Cast, text: str) -> None:
    assert services.post_message(user=cast.member, room_id=cast.room.pk, text=text, personas=[])


def test_both_forms_of_a_heart_are_one_reaction(cast: Cast) -> None:
    message = services.post_message(user=cast.member, room_id=cast.room.pk, text="a", personas=[])

    services.react(user=cast.owner, message_id=message.message.pk, emoji="❤", on=True)
    services.react(user=cast.member, message_id=message.message.pk, emoji="❤️", on=True)

    message.message.refresh_from_db()
    assert message.message.reactions == {"❤": [str(cast.owner.pk), str(cast.member.pk)]}


def test_rendering_runs_outside_the_transaction_that_holds_the_room(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths: list[int] = []
    parse = markup.parse

    def recording(text: str) -> markup.ParsedText:
        depths.append(len(connection.atomic_blocks))
        return parse(text)

    for module in (services.messages, lifecycle):
        monkeypatch.setattr(module, "parse", recording)
    outside = len(connection.atomic_blocks)

    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="a", personas=[])
    services.edit_message(user=cast.member, message_id=posted.message.pk, text="b")
    answer(cast, "the answer")

    assert depths == [outside] * 4  # the question of the answer is a message, too
