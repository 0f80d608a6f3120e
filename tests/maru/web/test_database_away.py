"""Without a database, every page and every API path answers 503 with a sentence, never 500."""

import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import DjangoDbBlocker

ID = UUID(int=1)
SENTENCES = {
    "en": "The database does not answer. Your last change may not have been saved. "
    "Try again in a minute.",
    "ko": "데이터베이스가 응답하지 않습니다. 마지막 변경이 저장되지 않았을 수 있습니다. "
    "1분쯤 뒤에 다시 시도하세요.",
}
ARGUMENTS = (str(ID), "1")
NO_DATABASE = ("healthz", "metrics")


def refuse(*args: object, **kwargs: object) -> None:
    raise OperationalError("CANARY: connection refused")


@pytest.fixture
def _no_database(
    monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Let every connection to the database fail."""
    with django_db_blocker.unblock():
        monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", refuse)
        monkeypatch.setattr(BaseDatabaseWrapper, "_cursor", refuse)
        yield


def paths(patterns: list[URLPattern | URLResolver] | None = None, prefix: str = "") -> set[str]:
    """Return one path for each URL pattern of the site."""
    found = set()
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        part = str(pattern.pattern)
        for name, converter in getattr(pattern.pattern, "converters", {}).items():
            argument = next(one for one in ARGUMENTS if re.fullmatch(converter.regex, one))
            part = re.sub(rf"<(?:\w+:)?{name}>", argument, part)
        if isinstance(pattern, URLResolver):
            found |= paths(pattern.url_patterns, prefix + part)
        elif "(" not in part and "^" not in part:
            found.add(prefix + part)
    return found


@pytest.mark.usefixtures("_no_database")
@pytest.mark.parametrize("language", SENTENCES)
def test_every_path_answers_without_a_database(language: str) -> None:
    client = Client(raise_request_exception=False, headers={"Accept-Language": language})
    client.cookies["maru_session"] = "s" * 32
    statuses = {}

    for path in sorted(paths()):
        for method in ("get", "post"):
            response = getattr(client, method)(f"/{path}")
            statuses[method, path] = response.status_code
            text = b"".join(response) if response.streaming else response.content
            assert response.status_code != 500, path
            assert b"CANARY" not in text
            if response.status_code == 503 and not path.startswith(("api/", "readyz")):
                assert SENTENCES[language] in text.decode(), path
                assert f'<html lang="{language}"' in text.decode()
                assert response["Cache-Control"] == "private, no-store"
                assert "default-src" in response["Content-Security-Policy"]

    answered = {path for (_, path), status in statuses.items() if status == 503}
    assert {"", f"rooms/{ID}/", f"setup/{ID}", f"invitations/{ID}/", "admin/"} <= answered
    assert {"api/v1/me", f"api/v1/rooms/{ID}"} <= answered
    assert len(answered) > 100


@pytest.mark.usefixtures("_no_database")
@pytest.mark.parametrize("path", NO_DATABASE)
def test_path_for_programs_needs_no_database_without_a_session(path: str) -> None:
    assert Client().get(f"/{path}").status_code == 200


@pytest.mark.usefixtures("_no_database")
def test_page_that_does_not_exist_needs_no_database() -> None:
    client = Client(raise_request_exception=False)

    assert client.get("/no-such-page/").status_code in {404, 503}
