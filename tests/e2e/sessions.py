"""Runs `populate` and creates a session for each user, because the users have no passwords.

`python -m tests.e2e.sessions …`, in the environment of an installation, takes the arguments of
`populate` and adds the session keys to its output file.
"""

import json
import sys
from pathlib import Path

import django
from django.core.management import call_command
from django.http import HttpRequest

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def main(arguments: list[str]) -> None:
    """Run `populate`, create the sessions, and add their keys to the output file."""
    django.setup()
    call_command("populate", *arguments)
    out = Path(arguments[arguments.index("--out") + 1])
    output = json.loads(out.read_text())
    people = [member["user"] for room in output["rooms"] for member in room["members"]]
    output["sessions"] = {user_id: session_of(user_id) for user_id in people}
    out.write_text(json.dumps(output))


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
    main(sys.argv[1:])
