"""The engine and the provider's library without the rest of Maru, for measurements."""

from uuid import UUID

from agents.engine_types import PersonaSpec


def configure(url: str) -> None:
    """Configure the Django settings that the engine needs: it may connect to this provider."""
    from django.conf import settings

    settings.configure(EGRESS_ALLOW=frozenset({url.split("/")[2]}), EGRESS_PROXY=None)


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
