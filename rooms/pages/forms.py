"""Forms: a message, a new room, the settings of a room."""

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from agents.models import Persona
from rooms.models import AnswerPolicy, Room, RoomRole

DEFAULT = "usual"  # the composer's values; also in answers_menu.js
NONE = "none"


class MessageForm(forms.Form):
    """The composer's form post without a script; the service validates the text."""

    text = forms.CharField(strip=False, required=False)
    client_id = forms.UUIDField()
    answers = forms.CharField(required=False)

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
    people = forms.ModelMultipleChoiceField(User.objects.none(), label=_("Members"), required=False)

    def __init__(self, *args: Any, personas: Any = None, people: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, choices in (("personas", personas), ("people", people)):
            field = self.fields[name]
            assert isinstance(field, forms.ModelMultipleChoiceField)
            field.queryset = choices


class RoomSettingsForm(RoomForm):
    """The settings of a room, including its answer policy."""

    class Meta(RoomForm.Meta):
        fields: ClassVar[tuple[str, ...]] = (
            *RoomForm.Meta.fields,
            "answer_policy",
            "default_persona",
        )
        labels: ClassVar = {
            **RoomForm.Meta.labels,
            "answer_policy": _("Who answers"),
            "default_persona": _("Default persona"),
        }
        help_texts: ClassVar = {
            **RoomForm.Meta.help_texts,
            "default_persona": _("Answers messages that mention no persona."),
        }
        widgets: ClassVar[dict[str, Any]] = {
            **RoomForm.Meta.widgets,
            "answer_policy": forms.RadioSelect,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        persona = self.fields["default_persona"]
        assert isinstance(persona, forms.ModelChoiceField)
        persona.queryset = self.instance.personas.order_by("bindings__pk")
        persona.empty_label = _("The persona that was added first")
        policy = self.fields["answer_policy"]
        assert isinstance(policy, forms.ChoiceField)
        # The page cannot reply to a message, so it offers `thread` only where the API has set it.
        policy.choices = [
            (value, words)
            for value, words in AnswerPolicy.choices
            if value != AnswerPolicy.THREAD or value == self.instance.answer_policy
        ]

    def offer(self, bound: Iterable[Persona]) -> None:
        """Set the choices to personas that the page has read, to save the field's own query."""
        persona = self.fields["default_persona"]
        assert isinstance(persona, forms.ModelChoiceField)
        named = [(each.pk, str(each)) for each in bound]
        persona.choices = [("", persona.empty_label or ""), *named]


class RoleForm(forms.Form):
    """The role of a member."""

    role = forms.ChoiceField(choices=RoomRole.choices, initial=RoomRole.MEMBER)


class SuccessorForm(forms.Form):
    """The member who becomes the owner of the room."""

    person = forms.UUIDField()


class InviteForm(forms.Form):
    """An invitation to a person outside the team; without an address, the link is for anyone."""

    email = forms.EmailField(required=False)


class AddPersonForm(RoleForm):
    """A member of the team to add to the room."""

    person = forms.UUIDField()


class AddPersonaForm(forms.Form):
    """A persona of the team that is to answer in the room."""

    persona = forms.UUIDField()
