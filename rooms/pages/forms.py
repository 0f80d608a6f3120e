"""Forms: a message, a new room, the settings of a room, an invitation to the team."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final
from uuid import UUID

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.services.invitations import MAX_USES
from accounts.views.finder import MAX_CHOSEN
from accounts.views.forms import RoleForm as TeamRoleForm
from agents.models import Persona
from rooms.models import Room, RoomRole

DEFAULT = "usual"  # the composer's values; also in answers_menu.js
NONE = "none"


class MessageForm(forms.Form):
    """The composer's form post without a script; the service validates the text."""

    text = forms.CharField(strip=False, required=False)
    client_id = forms.UUIDField()
    answers = forms.CharField(required=False)
    reply_to = forms.UUIDField(required=False)
    also_in_room = forms.BooleanField(required=False)

    def clean_answers(self) -> list[UUID] | None:
        """Return the personas to ask; None for the room's answer policy."""
        choice = self.cleaned_data["answers"]
        if choice in ("", DEFAULT):
            return None
        if choice == NONE:
            return []
        try:
            return [UUID(choice)]
        except ValueError:
            raise forms.ValidationError(_("Choose one of the personas of this room.")) from None


class DecisionForm(forms.Form):
    """A decision on a tool call, of which the reader has seen the arguments."""

    decision = forms.ChoiceField(
        choices=[(name, name) for name in ("allow", "allow_for_run", "deny")]
    )
    note = forms.CharField(required=False, max_length=400)
    arguments_sha256 = forms.CharField(max_length=64)


class AnswerForm(forms.Form):
    """An answer to the question of a persona; the service validates it."""

    choice = forms.CharField(strip=False, required=False)
    text = forms.CharField(required=False)


class RoomForm(forms.ModelForm[Room]):
    """The name, topic and privacy of a room."""

    class Meta:
        model = Room
        fields: ClassVar[tuple[str, ...]] = ("name", "topic", "privacy")
        labels: ClassVar = {
            "name": _("Name"),
            "topic": _("Topic"),
            "privacy": _("Who can join"),
        }
        help_texts: ClassVar = {"topic": _("What the room is for, in one line.")}
        widgets: ClassVar[dict[str, Any]] = {"privacy": forms.RadioSelect}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["privacy"].required = False

    def clean_privacy(self) -> str:
        """Return the sent value, else the current one; a new room is private."""
        return self.cleaned_data["privacy"] or self.instance.privacy


class NewRoomForm(RoomForm):
    """A new room with its first personas and members."""

    personas = forms.ModelMultipleChoiceField(
        Persona.objects.none(), label=_("Personas"), required=False
    )
    default_persona = forms.UUIDField(required=False)
    people = forms.ModelMultipleChoiceField(User.objects.none(), label=_("Members"), required=False)

    def __init__(self, *args: Any, personas: Any = None, people: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, choices in (("personas", personas), ("people", people)):
            field = self.fields[name]
            assert isinstance(field, forms.ModelMultipleChoiceField)
            field.queryset = choices

    def clean_people(self) -> Any:
        """Return the people; raises ValidationError for more than MAX_CHOSEN."""
        return _few(self.cleaned_data["people"])

    def clean_default_persona(self) -> UUID | None:
        """Return the persona; raises ValidationError if it is not one of `personas`."""
        chosen: UUID | None = self.cleaned_data["default_persona"]
        personas = self.cleaned_data.get("personas", ())
        if chosen and chosen not in [persona.pk for persona in personas]:
            raise forms.ValidationError(_("Choose one of the personas of this room."))
        return chosen

    def clean_personas(self) -> Any:
        """Return the personas; raises ValidationError for more than MAX_CHOSEN."""
        return _few(self.cleaned_data["personas"])


def _few(chosen: Any) -> Any:
    """Return the rows of a queryset in the order of their ids, if they are not too many."""
    if len(chosen) > MAX_CHOSEN:
        raise forms.ValidationError(_("Choose at most 50 at a time."))
    return chosen


class RoomSettingsForm(RoomForm):
    """The settings of a room, including its answer policy."""

    _PERSONAS: ClassVar = {
        "default_persona": _("The persona that was added first"),
        "lead": _("The default persona"),
    }

    class Meta(RoomForm.Meta):
        fields: ClassVar[tuple[str, ...]] = (
            *RoomForm.Meta.fields,
            "for_everyone",
            "answer_policy",
            "default_persona",
            "mode",
            "lead",
            "persona_turns",
            "answers_in",
            "other_decides",
            "summarizes",
        )
        labels: ClassVar = {
            **RoomForm.Meta.labels,
            "for_everyone": _("Add everyone who joins the team"),
            "answer_policy": _("Who answers"),
            "default_persona": _("Default persona"),
            "mode": _("How several personas answer"),
            "lead": _("Persona that leads"),
            "other_decides": _("Not your own request"),
            "persona_turns": _("Answers between personas"),
            "answers_in": _("Where personas answer"),
            "summarizes": _("Summarize earlier messages"),
        }
        help_texts: ClassVar = {
            **RoomForm.Meta.help_texts,
            "for_everyone": _("New members come into this room first. Guests are not added."),
            "default_persona": _("Answers messages that mention no persona."),
            "mode": _("In turn, all personas answer a message that mentions none, at most 8."),
            "lead": _("Only if one persona leads. It may ask the others before it answers."),
            "other_decides": _(
                "If a persona asks before it uses a tool, the person who asked it does not decide."
            ),
            "persona_turns": _(
                "How many answers personas may ask of each other after one message, from 0 to 10."
            ),
            "summarizes": _(
                "What is too old for a persona to read is summarized by the model of a persona of "
                "this room. All members can read the summary."
            ),
        }
        widgets: ClassVar[dict[str, Any]] = {
            **RoomForm.Meta.widgets,
            "answer_policy": forms.RadioSelect,
            "mode": forms.RadioSelect,
            "answers_in": forms.RadioSelect,
            # Not a checkbox: a form without it would drop the summary.
            "summarizes": forms.RadioSelect(
                choices=[("True", _("Keep a summary")), ("False", _("Keep no summary"))]
            ),
        }

    def __init__(self, *args: Any, may_invite: bool, **kwargs: Any) -> None:
        """`may_invite` allows `for_everyone` to be changed, as in `services.update_room`."""
        super().__init__(*args, **kwargs)
        self.fields["persona_turns"].required = False
        self.fields["for_everyone"].disabled = not may_invite
        for name, empty_label in self._PERSONAS.items():
            persona = self.fields[name]
            assert isinstance(persona, forms.ModelChoiceField)
            persona.queryset = self.instance.personas.order_by("bindings__pk")
            persona.empty_label = empty_label
        for name in ("answers_in", "mode"):
            self.fields[name].required = False

    def clean_persona_turns(self) -> int:
        """Return the sent value, else the current one."""
        turns: int | None = self.cleaned_data["persona_turns"]
        return self.instance.persona_turns if turns is None else turns

    def clean_answers_in(self) -> str:
        """Return the sent value, else the current one."""
        return self.cleaned_data["answers_in"] or self.instance.answers_in

    def clean_mode(self) -> str:
        """Return the sent value, else the current one."""
        return self.cleaned_data["mode"] or self.instance.mode

    def offer(self, bound: Iterable[tuple[UUID, str]]) -> None:
        """Set the choices to personas that the page has read, to save the queries of the fields."""
        choices = list(bound)
        for name in self._PERSONAS:
            persona = self.fields[name]
            assert isinstance(persona, forms.ModelChoiceField)
            persona.choices = [("", persona.empty_label or ""), *choices]


class RoleForm(forms.Form):
    """The role of a member."""

    role = forms.ChoiceField(choices=RoomRole.choices, initial=RoomRole.MEMBER)


class SuccessorForm(forms.Form):
    """The member who becomes the owner of the room."""

    successor = forms.UUIDField(
        error_messages={"required": _("Choose the new owner.")},
    )


class InviteForm(forms.Form):
    """An invitation of a guest to one room; without an address, the link is for anyone."""

    email = forms.EmailField(required=False)


class ChosenField(forms.Field):
    """The ids that were ticked in a finder, at most MAX_CHOSEN; at least one if required."""

    widget = forms.SelectMultiple

    def to_python(self, value: Any) -> list[UUID]:
        try:
            return [UUID(each) for each in value or ()]
        except ValueError:
            raise forms.ValidationError(_("Choose one or more from the list.")) from None

    def validate(self, value: Any) -> None:
        if self.required and not value:
            raise forms.ValidationError(_("Choose one or more from the list."))
        if len(value) > MAX_CHOSEN:
            raise forms.ValidationError(_("Choose at most 50 at a time."))


class AddPeopleForm(RoleForm):
    """Members of the team to add to the room."""

    person = ChosenField()


class AddPersonasForm(forms.Form):
    """Personas of the team that are to answer in the room."""

    persona = ChosenField()


class InvitationForm(TeamRoleForm):
    """An invitation to the team: role, rooms, recipient, number of uses and lifetime."""

    LIFETIMES: Final = (("1", _("One day")), ("7", _("7 days")), ("30", _("30 days")))

    rooms = ChosenField(required=False)
    email = forms.EmailField(
        label=_("Email"),
        required=False,
        help_text=_(
            "We send the link to this email, and only this person can use it. "
            "Leave it empty to get a link that you can share."
        ),
    )
    days = forms.ChoiceField(
        label=_("Expires after"), choices=LIFETIMES, initial="7", required=False
    )
    max_uses = forms.IntegerField(
        label=_("How many people can use it"),
        min_value=1,
        max_value=MAX_USES,
        initial=1,
        required=False,
    )

    def clean_days(self) -> int:
        """Return the number of days; 7 by default."""
        return int(self.cleaned_data["days"] or 7)

    def clean_max_uses(self) -> int:
        """Return the number of uses; 1 by default."""
        return self.cleaned_data["max_uses"] or 1


class DirectForm(forms.Form):
    """The people and personas of a direct room; the service refuses an empty choice."""

    users = ChosenField(required=False)
    personas = ChosenField(required=False)


class PersonaRoomsForm(forms.Form):
    """The rooms in which a persona is to answer."""

    room = ChosenField()
