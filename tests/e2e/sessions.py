"""Runs `populate` and creates a session for each user, because the users have no passwords.

`python -m tests.e2e.sessions` runs in the environment of an installation. Each line of its input is
a JSON array, the arguments of `populate`; when the session keys are in the output file, it prints
the path of the file. One process serves all tests, because its start takes seconds.
"""

import json
import sys
from io import StringIO
from pathlib import Path

import django
from django.core.management import call_command
from django.http import HttpRequest

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def main() -> None:
    """Serve requests until the input ends."""
    django.setup()
    for line in sys.stdin:
        print(populate(json.loads(line)), flush=True)


def populate(arguments: list[str]) -> Path:
    """Run `populate`, create the sessions, and add their keys to the output file."""
    call_command("populate", *arguments, stdout=StringIO())
    out = Path(arguments[arguments.index("--out") + 1])
    output = json.loads(out.read_text())
    people = [member["user"] for room in output["rooms"] for member in room["members"]]
    output["sessions"] = {user_id: session_of(user_id) for user_id in people}
    out.write_text(json.dumps(output))
    return out


def session_of(user_id: str) -> str | None:
    """Create a session with Django's `login` and return its key."""
    from django.contrib.auth import get_user_model, login
    from django.contrib.sessions.backends.db import SessionStore

    request = HttpRequest()
    request.session = SessionStore()
    login(request, get_user_model().objects.get(pk=user_id), backend=BACKEND)
    request.session.save()
    return request.session.session_key


if __name__ == "__main__":
    main()
