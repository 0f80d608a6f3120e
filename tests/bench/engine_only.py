"""The engine and the provider's library without the rest of Maru, for measurements."""

import os
from uuid import UUID

from agents.engine_types import PersonaSpec


def configure(url: str) -> None:
    """Configure Django for the engine, which may connect to this provider."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
    os.environ["MARU_EGRESS_ALLOW"] = url.split("/")[2]
    import django

    django.setup()


def persona(url: str, model: str) -> PersonaSpec:
    """Return a persona of this provider and model."""
    return PersonaSpec(
        team_id=UUID(int=1),
        connection_id=UUID(int=2),
        kind="openai",
        base_url=url,
        model=model,
        name="Bench",
        handle="bench",
        role="Answers in benchmarks",
        goal="Answer what is asked.",
    )
