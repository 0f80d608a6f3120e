"""Records what runs have sent to their models. Workers call it, after the providers are asked.

A record has the texts of the persona and of the room, and in place of each text of a message its
id with a digest: see `rooms.runs.prompts.recorded`, which reads records.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from agents.engine import prompt
from agents.engine_types import PersonaSpec
from rooms.models import RunPrompt
from rooms.runs.lifecycle import Job
from rooms.runs.prompts.recorded import Piece, Prompt, Quoted, Section, SentTool, digest_of


def record(jobs: Sequence[Job]) -> None:
    """Store the prompts of jobs that have just started; one query.

    A start that is repeated for the same attempt has sent the same, so the first record is kept.
    """
    rows = [
        RunPrompt(
            run_id=job.run,
            attempt=job.attempt,
            request=job.past[-1].number + 1 if job.past else 0,
            content=zlib.compress(msgspec.json.encode(_prompt(job)), level=1),
            created_at=job.started_at,
        )
        for job in jobs
    ]
    RunPrompt.objects.bulk_create(rows, ignore_conflicts=True)


def _prompt(job: Job) -> Prompt:
    sections = prompt.sections(job.spec, job.turns, job.surroundings)
    return Prompt(
        model=job.spec.model,
        temperature=job.spec.temperature,
        max_output_tokens=job.spec.max_output_tokens,
        sections=[
            Section(each.kind, each.role, [_piece(piece) for piece in each.pieces])
            for each in sections
        ],
        tools=_tools(job.spec),
    )


def _piece(piece: str | prompt.Quote) -> Piece:
    if isinstance(piece, str):
        return piece
    return Quoted(of=piece.of, id=piece.source, digest=digest_of(piece.text))


def _tools(spec: PersonaSpec) -> list[SentTool]:
    return [
        SentTool(
            tool.name,
            tool.title,
            tool.description,
            _plain(tool.parameters),
            own=tool.source == "own",
        )
        for tool in spec.tools
    ]


def _plain(value: Any) -> Any:  # Any: a JSON schema
    return msgspec.to_builtins(value)
