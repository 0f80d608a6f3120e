"""What every endpoint of the REST API is made of: who asks, what they send, how we say no."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Generic, TypeVar

from django.core.exceptions import RequestDataTooBig
from django.core.exceptions import ValidationError as WrongValue
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from ninja import Query
from ninja.security.base import AuthBase
from ninja.utils import check_csrf
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError

from accounts import rate_limits
from accounts.errors import Forbidden, Invalid, MaruError, TooLarge
from accounts.models import User
from accounts.scopes import READ, WRITE, check_scope
from accounts.services import user_for_token
from accounts.timestamps import format_timestamp

LONGEST_PAGE: Final = 200
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def _in_utc(moment: datetime) -> datetime:
    """Some moments of the first and the last day that there are have no name in UTC."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("Choose a time nearer to now") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Time = Annotated[datetime, PlainSerializer(format_timestamp, return_type=str)]


class BearerAuth(AuthBase):
    """`Authorization: Bearer maru_…`."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> User | None:
        kind, _space, secret = request.headers.get("Authorization", "").partition(" ")
        user = user_for_token(secret.strip()) if kind.lower() == "bearer" else None
        return _came_in(request, user) if user else None


class SessionAuth(AuthBase):
    """The session cookie of a browser; unsafe methods need the CSRF token as well."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = "maru_session"

    def __call__(self, request: HttpRequest) -> User | None:
        # One verifier: who shows a token, even a dead one, is not let in by a cookie instead.
        if "Authorization" in request.headers or not isinstance(request.user, User):
            return None
        if check_csrf(request) is not None:
            raise Forbidden(_("The CSRF token is missing or wrong. Load the page again."))
        return _came_in(request, request.user)


AUTH: Final[Sequence[AuthBase]] = (BearerAuth(), SessionAuth())


def _came_in(request: HttpRequest, user: User) -> User:
    request.user = user
    check_scope(user.scope, READ if request.method in _SAFE else WRITE, user.scope.team_id)
    rate_limits.consume(rate_limits.CALL, user)
    return user


class Body(BaseModel):
    """What a client sends: nothing that we do not know, and no text that a database refuses."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="after")
    @classmethod
    def _no_nul(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise PydanticCustomError("nul", "Text cannot hold the NUL character")
        return value


Shape = TypeVar("Shape", bound=Body)


def read_body(request: HttpRequest, shape: type[Shape]) -> Shape:
    """Return the body in its shape, or raise Invalid with what is wrong at which field.

    Endpoints call this after the gate, and not in their signature, where the body would be judged
    before anybody has asked whether the thing is there for this user at all.
    """
    try:
        return shape.model_validate_json(request.body)
    except RequestDataTooBig:
        raise TooLarge from None
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None


SHARED: Final[dict[str, Any]] = {}
"""The schemas that operations name by reference: OpenAPI has them once, as components."""


def takes(shape: type[Body]) -> dict[str, Any]:
    """Return what OpenAPI says of an operation that calls `read_body` with `shape`."""
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    SHARED.update(schema.pop("$defs", {}))
    SHARED[shape.__name__] = schema
    reference = {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}
    return {"requestBody": {"required": True, "content": {"application/json": reference}}}


def invalid(mistakes: Sequence[Any], skip: int = 0) -> Invalid:
    """Turn pydantic's mistakes into our error; `skip` leaves out so many first steps of a place."""
    fields = {}
    for mistake in mistakes:
        place = ".".join(str(step) for step in mistake["loc"][skip:])
        if place:
            fields[place] = mistake["msg"]
    return Invalid(fields=fields or None)


def answer(body: BaseModel, status: int = 200) -> HttpResponse:
    """Return a body as the answer of an endpoint that makes its own."""
    return HttpResponse(
        body.model_dump_json(), content_type="application/json; charset=utf-8", status=status
    )


Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next` is the cursor of the page after it."""

    items: list[Item]
    next: str | None


Limit = Annotated[int, Query(ge=1, description=f"at most {LONGEST_PAGE} are given")]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]


def page_of(
    rows: QuerySet[Row],
    shape: Callable[[Row], Item],
    *,
    limit: int,
    cursor: str | None,
    key: str = "pk",
) -> Page[Item]:
    """Return one page of rows, the newest first; `key` is a field that grows with time."""
    limit = min(limit, LONGEST_PAGE)
    rows = rows.order_by(f"-{key}")
    if cursor is not None:
        rows = rows.filter(**{f"{key}__lt": _read_cursor(rows.model, key, cursor)})
    found = list(rows[: limit + 1])
    following = str(getattr(found[limit - 1], key)) if len(found) > limit else None
    return Page(items=[shape(row) for row in found[:limit]], next=following)


def _read_cursor(model: type[Model], key: str, cursor: str) -> Any:  # Any: of the field's own type
    field: Any = model._meta.pk if key == "pk" else model._meta.get_field(key)
    try:
        return field.clean(cursor, None)
    except WrongValue:
        raise Invalid(fields={"cursor": _("This is not a cursor of this list.")}) from None


class Refusal(BaseModel):
    """How the API says no: `code` for programs, `detail` one sentence for people."""

    code: str
    detail: str
    fields: dict[str, str] | None = None


def refusal(error: MaruError) -> JsonResponse:
    """Return the answer that says no, in the one form of it."""
    body: dict[str, Any] = {"code": error.code, "detail": str(error.detail)}
    if error.fields:
        body["fields"] = {name: str(text) for name, text in error.fields.items()}
    answer = JsonResponse(body, status=error.status, json_dumps_params={"ensure_ascii": False})
    if error.retry_after is not None:
        answer["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        answer["WWW-Authenticate"] = "Bearer"
    return answer
