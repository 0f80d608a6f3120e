"""What a socket answers, and what the log says, when the database fails during a command."""

from uuid import uuid4

import pytest
from django.db import DataError, Error, IntegrityError, InterfaceError, OperationalError
from django.db import ProgrammingError as SqlError
from structlog.testing import capture_logs

from rooms.socket import consumer
from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import Harness

OUTAGES = [OperationalError, InterfaceError]
FAULTS = [DataError, IntegrityError, SqlError, Error]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("error", [*OUTAGES, *FAULTS])
async def test_only_errors_that_are_no_outage_are_logged_with_a_traceback(
    error: type[Exception], harness: Harness, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise error("CANARY")

    client = harness.connect(cast.member)
    monkeypatch.setattr(consumer, "execute", fail)

    with capture_logs() as logs:
        refused = await client.say(uuid4(), "hello")

    assert (refused["type"], refused["code"]) == ("command.refused", "unavailable")
    assert "CANARY" not in str(refused)
    assert [entry["exc_info"] for entry in logs if entry["event"] == "command.database_away"] == [
        error in FAULTS
    ]
