"""The REST endpoints of rounds: personas that answer a message in turn."""

from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict
from accounts.models import User
from rooms import services
from rooms.models import Round
from rooms.permissions import VIEW, access_round
from rooms.protocol.payloads import RoundBody
from rooms.protocol.serializers import round_body

routes = Routes("messages")


@routes.add("GET /rounds/{uuid:round_id}", Gate(access_round, VIEW), summary="Get a round")
def get_round(user: User, round_: Round) -> RoundBody:
    return round_body(round_)


@routes.add(
    "POST /rounds/{uuid:round_id}/cancel",
    Gate(access_round, VIEW),
    summary="Cancel a round and its run",
)
def cancel_round(user: User, round_: Round) -> RoundBody:
    return round_body(services.cancel_round(user=user, round_id=round_.pk))


@routes.add(
    "POST /rounds/{uuid:round_id}/skip",
    Gate(access_round, VIEW),
    errors=(Conflict,),
    summary="Let a round go on after the step that has failed",
)
def skip_step(user: User, round_: Round) -> RoundBody:
    return round_body(services.skip_step(user=user, round_id=round_.pk))
