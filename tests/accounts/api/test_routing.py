"""The order in which an operation authenticates, checks access, decodes and runs."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from msgspec import Struct

from accounts.api.bodies import Body
from accounts.api.routing import Gate, Options, Routes
from accounts.errors import Invalid, NotFound, Unauthenticated
from accounts.models import KeptAnswer, User
from tests.accounts.conftest import Cast

pytestmark = pytest.mark.django_db

RESOURCE = uuid4()


class Named(Body, frozen=True):
    """A body."""

    name: str


class Echo(Struct, frozen=True):
    """A response."""

    resource: str
    name: str


def access_resource(user: User, resource_id: UUID, permission: str) -> str:
    if resource_id != RESOURCE:
        raise NotFound
    return permission


def call(options: Options, user: User | None, content: bytes, **given: Any) -> HttpResponse:
    """Declare an operation and call its view, as ninja does after it has parsed the path."""
    calls: list[str] = given.pop("calls", [])
    routes = Routes("test")

    @routes.add("POST /resources/{uuid:resource_id}", Gate(access_resource, "edit"), **options)
    def post_resource(user: User, resource: str, body: Named) -> Echo:
        calls.append(body.name)
        return Echo(resource, body.name)

    (path_view,) = routes.router.path_operations.values()
    headers = {"Idempotency-Key": given.pop("key")} if "key" in given else {}
    request = RequestFactory().post(
        "/resources/", content, content_type="application/json", headers=headers
    )
    request.user = user  # type: ignore[assignment]  # None stands for an anonymous user
    view: Any = path_view.operations[0].view_func
    response: HttpResponse = view(request, resource_id=given.pop("resource_id", RESOURCE))
    return response


def test_function_gets_the_user_the_resource_and_the_body(cast: Cast) -> None:
    response = call(
        {"summary": "x", "status": 201, "location": "/things/{name}"}, cast.owner, b'{"name": "n"}'
    )

    assert response.status_code == 201
    assert response.content == b'{"resource":"edit","name":"n"}'
    assert response["Location"] == "/api/v1/things/n"


def test_access_is_checked_before_the_body(cast: Cast) -> None:
    with pytest.raises(NotFound):
        call({"summary": "x"}, cast.owner, b"{", resource_id=uuid4())
    with pytest.raises(Invalid):
        call({"summary": "x"}, cast.owner, b"{")


def test_credentials_are_checked_before_access() -> None:
    with pytest.raises(Unauthenticated):
        call({"summary": "x"}, None, b"{", resource_id=uuid4())


def test_check_of_the_user_comes_before_the_gate(cast: Cast) -> None:
    def refuse(user: User) -> None:
        raise Invalid("first")

    with pytest.raises(Invalid, match="invalid"):
        call({"summary": "x", "check": refuse}, cast.owner, b"{", resource_id=uuid4())


@pytest.mark.parametrize(
    ("idempotency", "names", "stored"),
    [("replay", ["n"], 1), ("repeat", ["n", "n"], 1), ("ignore", ["n", "n"], 0)],
)
def test_repeated_post_is_replayed_repeated_or_ignored(
    cast: Cast, idempotency: Literal["replay", "repeat", "ignore"], names: list[str], stored: int
) -> None:
    options: Options = {"summary": "x", "idempotency": idempotency}
    calls: list[str] = []

    first, second = (
        call(options, cast.owner, b'{"name": "n"}', key="key", calls=calls) for _ in range(2)
    )

    assert first.content == second.content
    assert calls == names
    assert KeptAnswer.objects.count() == stored


def test_body_is_prepared_before_the_function_runs(cast: Cast) -> None:
    def prepare(user: User, body: Named, path: Mapping[str, Any]) -> Named:
        return Named(name=body.name.upper())

    response = call({"summary": "x", "prepare": prepare}, cast.owner, b'{"name": "n"}')

    assert b'"name":"N"' in response.content


def test_gate_of_the_service_is_checked_only_for_an_invalid_body(cast: Cast) -> None:
    routes = Routes("test")
    gate = Gate(access_resource, "edit")

    @routes.add("PUT /resources/{uuid:resource_id}", gate_if_invalid=gate, summary="x")
    def put_resource(user: User, resource_id: UUID, body: Named) -> None:
        assert resource_id != RESOURCE

    (path_view,) = routes.router.path_operations.values()
    view: Any = path_view.operations[0].view_func

    def put(content: bytes, resource_id: UUID) -> HttpResponse:
        request: HttpRequest = RequestFactory().put("/", content)
        request.user = cast.owner
        response: HttpResponse = view(request, resource_id=resource_id)
        return response

    assert put(b'{"name": "n"}', uuid4()).status_code == 204
    with pytest.raises(NotFound):
        put(b"{", uuid4())
    with pytest.raises(Invalid):
        put(b"{", RESOURCE)
