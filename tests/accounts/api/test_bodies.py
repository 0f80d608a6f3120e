"""Decoding of request bodies: each mistake is named, and unstorable text is refused."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import msgspec
import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils.safestring import mark_safe
from msgspec import UNSET, Meta, UnsetType
from pytest_django import Settings

from accounts.api.bodies import Body, Time, decode_body, encode
from accounts.errors import Invalid, TooLarge
from accounts.fields import MAX_MISTAKES


class Item(Body, frozen=True):
    """An object in an array."""

    kinds: Annotated[tuple[Literal["a", "b"], ...], Meta(min_length=1)]
    user: UUID | None = None


class Example(Body, frozen=True, kw_only=True):
    """A field of each kind that the bodies of the API use."""

    name: Annotated[str, Meta(min_length=1, max_length=5)]
    count: Annotated[int, Meta(ge=1, le=9)] = 1
    colour: Literal["red", "blue"] | UnsetType = UNSET
    end: Time | None = None
    items: tuple[Item, ...] = ()
    users: Annotated[tuple[UUID, ...], Meta(max_length=2)] | None = None


def request(content: bytes) -> HttpRequest:
    return RequestFactory().post("/", content, content_type="application/json")


def mistakes(content: bytes) -> dict[str, str]:
    """Return the fields that the refusal of a body names."""
    with pytest.raises(Invalid) as refused:
        decode_body(request(content), Example)
    return {name: str(text) for name, text in (refused.value.fields or {}).items()}


def test_valid_body_is_decoded() -> None:
    user = uuid4()
    content = {"name": "n", "end": "2030-01-01T09:00:00+09:00", "users": [str(user)]}

    body = decode_body(request(msgspec.json.encode(content)), Example)

    assert body == Example(name="n", end=datetime(2030, 1, 1, tzinfo=UTC), users=(user,))


def test_changes_are_the_fields_that_the_client_sent() -> None:
    class Update(Body, frozen=True):
        name: str | UnsetType = UNSET
        parent: UUID | UnsetType | None = UNSET

    body = decode_body(request(b'{"parent": null}'), Update)

    assert body.changes() == {"parent": None}


def test_every_wrong_field_is_named() -> None:
    content: dict[str, Any] = {
        "count": 10,
        "colour": "green",
        "end": "2030-01-01",
        "items": [{"kinds": ["a"]}, {"kinds": [], "user": 7, "x": 1}, {"kinds": ["c"]}, {}, 5],
        "users": ["x", str(uuid4())],
        "extra": True,
    }

    assert mistakes(msgspec.json.encode(content)) == {
        "name": "This field is required",
        "count": "Expected `int` <= 9",
        "colour": "Expected one of 'red', 'blue'",
        "end": "Invalid RFC3339 encoded datetime",
        "items.1.kinds": "Expected `array` of length >= 1",
        "items.1.user": "Expected `uuid | null`, got `int`",
        "items.1.x": "Unknown field",
        "items.2.kinds.0": "Expected one of 'a', 'b'",
        "items.3.kinds": "This field is required",
        "items.4": "Expected `object`, got `int`",
        "users.0": "Invalid UUID",
        "extra": "Unknown field",
    }


@pytest.mark.parametrize(
    "content",
    [
        {"name": "x", "users": ["?"] * 10_000},
        {"name": "x", "items": [{}] * 10_000},
        {"name": "x", **{f"unknown{number}": 1 for number in range(10_000)}},
    ],
)
def test_number_of_named_mistakes_is_bounded(content: dict[str, Any]) -> None:
    named = mistakes(json.dumps(content).encode())

    assert 1 <= len(named) <= 2 * MAX_MISTAKES


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ('"name": null', "Expected `str`, got `null`"),
        ('"name": ""', "Expected `str` of length >= 1"),
        ('"name": "123456"', "Expected `str` of length <= 5"),
        ('"name": "n", "count": true', "Expected `int`, got `bool`"),
        ('"name": "n", "count": 1e400', "Number out of range"),
        ('"name": "n", "end": "2030-01-01T00:00:00"', "Expected `datetime` with a timezone"),
        ('"name": "n", "end": "9999-12-31T23:59:59-01:00"', "Choose a time nearer to now"),
        ('"name": "n", "end": "0001-01-01T00:00:00+01:00"', "Choose a time nearer to now"),
        ('"name": "n", "users": {}', "Expected `array | null`, got `object`"),
    ],
)
def test_mistake_is_a_sentence_without_a_path(field: str, sentence: str) -> None:
    (text,) = mistakes(f"{{{field}}}".encode()).values()

    assert text.startswith(sentence)
    assert "$" not in text


def test_nul_is_refused_together_with_other_mistakes() -> None:
    content = b'{"name": "a\\u0000", "count": 0, "items": [{"kinds": ["a"]}]}'

    assert mistakes(content) == {
        "name": "Text cannot hold the NUL character",
        "count": "Expected `int` >= 1",
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"name": "n"',
        b'{"name": 7, "count": ]',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": "n", "end": ' + b"[" * 100_000,
    ],
)
def test_refusal_of_a_body_that_is_no_json_object_names_no_field(content: bytes) -> None:
    assert not mistakes(content)


def test_body_above_the_size_limit_is_too_large(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

    with pytest.raises(TooLarge):
        decode_body(request(b'{"name": "' + b"n" * 100 + b'"}'), Example)


def test_subclass_of_str_is_encoded_as_text() -> None:
    assert encode({"html": mark_safe("<p>한글</p>")}) == '{"html":"<p>한글</p>"}'.encode()
