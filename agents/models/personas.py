"""Personas, their versions, and the connections to the providers of their models."""

from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import new_id
from accounts.models import Team
from accounts.roles import ObjectGrant


class ConnectionKind(models.TextChoices):
    OPENAI = "openai", _("OpenAI-compatible")
    DEMO = "demo", _("Demo, no model")


class Pigment(models.TextChoices):
    """The colour of a persona, from the palette of dancheong, the painting of Korean beams."""

    NOEROK = "noerok", _("Green")
    SEOKGANJU = "seokganju", _("Red ochre")
    CHIJA = "chija", _("Yellow")
    JAJU = "jaju", _("Purple")
    CHEONGHOE = "cheonghoe", _("Blue grey")
    MEOK = "meok", _("Black")


class Lattice(models.TextChoices):
    """The pattern on a persona's tile, named after the lattices of Korean paper doors."""

    TTISAL = "ttisal", _("Bands")
    GYEOKSAL = "gyeoksal", _("Grid")
    BITSAL = "bitsal", _("Slanted")
    WANJA = "wanja", _("Meander")
    YUKMO = "yukmo", _("Hexagon")
    KKOTSAL = "kkotsal", _("Flower")


class Connection(models.Model):
    """A model provider and its key. The key is encrypted at rest and is never shown."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="connections")
    name = models.CharField(_("name"), max_length=80)
    kind = models.CharField(_("kind"), max_length=8, choices=ConnectionKind)
    base_url = models.URLField(_("base URL"), max_length=400, blank=True)
    key_encrypted = models.TextField(blank=True, editable=False)
    model_names = models.JSONField(_("models"), default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        ordering = ("name", "pk")
        constraints: ClassVar = [
            models.UniqueConstraint("team", Lower("name"), name="connection_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class Persona(models.Model):
    """A configurable agent that answers in rooms, shown by its name, colour and pattern."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="personas")
    name = models.CharField(_("name"), max_length=40)
    handle = models.CharField(_("handle"), max_length=40)
    role = models.CharField(_("role"), max_length=80)
    goal = models.CharField(_("goal"), max_length=400)
    backstory = models.TextField(_("backstory"), max_length=2_000, blank=True)
    instructions = models.TextField(_("instructions"), max_length=8_000, blank=True)
    connection = models.ForeignKey(
        Connection, on_delete=models.RESTRICT, related_name="personas", verbose_name=_("connection")
    )
    model = models.CharField(_("model"), max_length=200)
    temperature = models.FloatField(
        _("temperature"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(2)],
    )
    max_output_tokens = models.PositiveIntegerField(
        _("maximum length of an answer, in tokens"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(200_000)],
    )
    pigment = models.CharField(_("colour"), max_length=16, choices=Pigment, default=Pigment.NOEROK)
    lattice = models.CharField(
        _("pattern"), max_length=16, choices=Lattice, default=Lattice.GYEOKSAL
    )
    enabled = models.BooleanField(_("answers"), default=True)
    confined = models.BooleanField(_("only in some rooms"), default=False, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        permissions: ClassVar = [
            ("use", "Ask the persona and take it into rooms"),
            ("edit", "See and change how it answers"),
            ("manage", "Give it another model, switch it off, delete it"),
            ("share", "Say who may do what with it"),
        ]
        ordering = ("name", "pk")
        constraints: ClassVar = [
            models.UniqueConstraint("team", Lower("handle"), name="persona_handle_once"),
        ]

    def __str__(self) -> str:
        return self.name


class PersonaGrant(ObjectGrant):
    """One right on a persona, granted to a user, to a role or to the whole team."""

    content_object = models.ForeignKey(Persona, on_delete=models.CASCADE, related_name="grants")

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["content_object", "user", "role", "permission"],
                nulls_distinct=False,
                name="persona_grant_once",
            ),
        ]


class PersonaVersion(models.Model):
    """The fields of a persona after one saved change."""

    persona = models.ForeignKey(Persona, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    fields = models.JSONField()
    changed = models.JSONField(default=list)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        ordering = ("-number",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["persona", "number"], name="persona_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.persona_id} v{self.number}"
