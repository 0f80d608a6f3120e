"""What is kept of a prompt: exactly what was sent, nothing that was deleted, no secret."""

import zlib
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.services import create_token
from agents.models import Persona
from agents.services import Grant, delete_persona, put_grants
from rooms import services
from rooms.models import Message, Run, RunPrompt
from rooms.runs.prompts import recorder
from rooms.runs.prompts.recorded import RETENTION, SentRequest, purge_prompts, requests_of
from tests.provider import Provider
from tests.rooms.acting import LOOK, execute, propose, request, set_policy
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import browser
from tests.rooms.runs.prompts.asking import KEY, all_of, answered, say, started, stream, talk
from tests.rooms.runs.prompts.test_context import write_summary

pytestmark = pytest.mark.django_db


def as_sent(request: SentRequest) -> list[dict[str, Any]]:
    """Return the messages of a recorded request in the provider's form."""
    return [{"role": each.role, "content": each.content} for each in request.messages]


def full_run(cast: Cast) -> Run:
    """Answer a question in a room with a pin, a summary and turns."""
    messages = talk(cast, 5)
    services.pin_message(user=cast.owner, message_id=messages[1].pk, on=True)
    write_summary(cast, messages[0].seq, "They chose oak.\nNobody objected.")
    return answered(cast.member, cast.room, "Why {oak}?\n[room]\nRoom: CANARY")


def test_record_is_what_the_provider_was_sent(asked: Cast, provider: Provider) -> None:
    run = full_run(asked)

    (request,) = requests_of(run, all_of)

    (seen,) = provider.requests
    assert as_sent(request) == seen.messages
    assert (request.number, request.attempt, request.model) == (1, 1, "echo-prompt")
    assert not any(message.removed for message in request.messages)
    kinds = [message.kind for message in request.messages]
    assert kinds == ["persona", "room", "summary", *["turn"] * 6]


def test_record_of_a_thread_is_what_the_provider_was_sent(asked: Cast, provider: Provider) -> None:
    talk(asked, 3)
    root = say(asked.owner, asked.room, "root")
    run = answered(
        asked.member, asked.room, "in here", reply_to=root.pk, personas=[asked.persona.pk]
    )

    (request,) = requests_of(run, all_of)
    (seen,) = provider.requests
    assert as_sent(request) == seen.messages
    assert [message.kind for message in request.messages[-3:]] == ["room", "turn", "turn"]


def test_record_has_no_copy_of_a_message_and_no_key(asked: Cast) -> None:
    full_run(asked)

    stored = zlib.decompress(RunPrompt.objects.get().content).decode()
    assert "Why {oak}" not in stored
    assert "turn 3" not in stored
    assert "chose oak" not in stored
    assert KEY not in stored
    assert asked.persona.name in stored


def test_deleted_message_leaves_the_record_in_the_same_transaction(asked: Cast) -> None:
    run = full_run(asked)
    message = Message.objects.get(text="turn 3")

    services.delete_message(user=asked.owner, message_id=message.pk)

    (request,) = requests_of(run, all_of)
    assert "turn 3" not in str(request)
    gone = [each for each in request.messages if each.removed]
    assert [each.message for each in gone] == [message.pk]
    assert "turn 2" in str(request)


def test_edited_message_leaves_the_record_with_both_texts(asked: Cast) -> None:
    run = full_run(asked)
    message = Message.objects.get(text="turn 1")  # pinned, too

    services.edit_message(user=asked.member, message_id=message.pk, text="new words")

    (request,) = requests_of(run, all_of)
    assert "turn 1" not in str(request)
    assert "new words" not in str(request)
    # The message covers no summary: only its pin and its turn are removed.
    assert [each.kind for each in request.messages if each.removed] == ["room", "turn"]


def test_dropped_summary_leaves_the_record(asked: Cast) -> None:
    run = full_run(asked)

    services.delete_message(user=asked.owner, message_id=Message.objects.get(text="turn 0").pk)

    (request,) = requests_of(run, all_of)
    assert "chose oak" not in str(request)
    assert [each.kind for each in request.messages if each.removed] == ["summary", "turn"]


def test_each_attempt_has_a_record_and_a_repeated_one_is_kept(asked: Cast) -> None:
    job = started(asked.member, asked.room, "question")
    recorder.record([job])

    assert [row.attempt for row in RunPrompt.objects.all()] == [1]


def test_records_are_deleted_after_thirty_days(asked: Cast) -> None:
    job = started(asked.member, asked.room, "question")
    run = Run.objects.get(pk=job.run)
    assert purge_prompts() == 0

    RunPrompt.objects.update(created_at=timezone.now() - RETENTION - timedelta(minutes=1))

    assert purge_prompts() == 1
    assert requests_of(run, all_of) == []


def test_records_are_deleted_with_their_room(asked: Cast) -> None:
    started(asked.member, asked.room, "question")
    write_summary(asked, 1)

    services.delete_room(user=asked.owner, room_id=asked.room.pk)
    services.rooms.empty_room(asked.room.pk)
    asked.room.delete()

    assert not RunPrompt.objects.exists()


def client_of(user: User, *scopes: str) -> Client:
    _token, secret = create_token(user=user, name="script", scopes=scopes or ("admin",))
    return Client(headers={"authorization": f"Bearer {secret}"})


def statuses(cast: Cast, run: Run, *users: User) -> list[int]:
    path = f"/api/v1/runs/{run.pk}/prompt"
    return [client_of(user).get(path).status_code for user in users]


def test_only_editors_of_the_persona_in_the_room_get_a_prompt(asked: Cast) -> None:
    run = full_run(asked)
    put_grants(
        user=asked.owner,
        persona_id=asked.persona.pk,
        grants=[
            Grant(frozenset({"use"})),
            Grant(frozenset({"use", "edit"}), user=asked.member.pk),
            Grant(frozenset({"use", "edit"}), user=asked.moderator.pk),
        ],
    )
    people = (asked.owner, asked.member, asked.reader, asked.stranger, asked.nobody)
    assert statuses(asked, run, *people) == [200, 200, 403, 404, 404]
    to_write = client_of(asked.owner, "write")
    assert to_write.get(f"/api/v1/runs/{run.pk}/prompt").status_code == 403

    services.remove_member(user=asked.owner, room_id=asked.room.pk, member_id=asked.moderator.pk)
    assert statuses(asked, run, asked.moderator) == [404]


def test_editor_who_may_not_see_a_call_gets_its_prompt_without_the_texts(asked: Cast) -> None:
    put_grants(
        user=asked.owner,
        persona_id=asked.persona.pk,
        grants=[
            Grant(frozenset({"use"})),
            Grant(frozenset({"use", "edit"}), user=asked.member.pk),
            Grant(frozenset({"use", "edit"}), user=asked.reader.pk),
        ],
    )
    set_policy(asked, LOOK, "always")
    job = started(asked.member, asked.room, "question")
    call = request(LOOK, '{"to": "CANARY"}')
    propose(job, call)
    execute(job, call.id, "a result with a CANARY")

    def seen(user: User) -> list[str]:
        rest = client_of(user).get(f"/api/v1/runs/{job.run}/prompt").content.decode()
        page = browser(user).get(reverse("rooms:run", args=[job.run]) + "?request=2")
        return [rest, page.content.decode()]

    for text in seen(asked.member):
        assert text.count("CANARY") == 2
    for text in seen(asked.reader):
        assert "CANARY" not in text
        assert "look" in text
    assert '"removed":true' in seen(asked.reader)[0]
    assert "is not shown" in seen(asked.reader)[1]


def test_prompt_of_a_deleted_persona_is_forbidden(asked: Cast) -> None:
    run = full_run(asked)
    delete_persona(user=asked.owner, persona_id=asked.persona.pk)
    assert not Persona.objects.filter(pk=asked.persona.pk).exists()

    assert statuses(asked, run, asked.owner, asked.stranger) == [403, 404]


def test_page_shows_each_part_and_the_figures(asked: Cast) -> None:
    run = full_run(asked)
    browser = Client()
    browser.force_login(asked.owner)

    page = browser.get(f"/runs/{run.pk}/").content.decode()

    for words in ("Instructions", "Summary", "Conversation 5", "Question", "Why {oak}?"):
        assert words in page
    assert "They chose oak." in page
    assert f'href="/api/v1/runs/{run.pk}/prompt"' in page
    assert KEY not in page
    assert "<script>" not in page
    browser.force_login(asked.reader)
    assert browser.get(f"/runs/{run.pk}/").status_code == 403


def test_page_of_a_run_without_a_record_says_so(asked: Cast) -> None:
    run = full_run(asked)
    RunPrompt.objects.all().delete()
    (queued,) = services.post_message(user=asked.member, room_id=asked.room.pk, text="next").runs
    browser = Client()
    browser.force_login(asked.owner)

    assert "There is no record." in browser.get(f"/runs/{run.pk}/").content.decode()
    assert "Nothing has been sent yet." in browser.get(f"/runs/{queued}/").content.decode()


def test_echoed_prompt_holds_all_that_was_sent(asked: Cast, provider: Provider) -> None:
    """The control: the stub provider repeats the prompt, and `stream` returns it."""
    job = started(asked.member, asked.room, "CANARY question")

    assert "CANARY question" in stream(job).text
    assert "CANARY question" in provider.requests[-1].prompt
