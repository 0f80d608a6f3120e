"""Serves static files in front of Django, without session, middleware or database."""

import fcntl
from collections.abc import Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from whitenoise.base import WhiteNoise
from whitenoise.responders import Response
from whitenoise.storage import CompressedManifestStaticFilesStorage


class CollectedFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # has no types
    """Static files with hashed names; imports between JS modules use the hashed names."""

    support_js_module_import_aggregation = True


def collect_missing() -> None:
    """Run collectstatic if a file is missing, under a file lock for the processes of a machine.

    A complete folder is not changed, because it is read-only in an image.
    """
    if _is_complete():
        return
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    with (settings.STATIC_ROOT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_complete():
            call_command("collectstatic", interactive=False, verbosity=0)


def _is_complete() -> bool:
    storage: Any = staticfiles_storage
    storage.hashed_files, storage.manifest_hash = storage.load_manifest()
    return all(path in storage.hashed_files for path in _paths())


def _paths() -> Iterator[str]:
    for finder in finders.get_finders():
        for path, _ in finder.list([]):
            yield path


class StaticFiles:
    """An ASGI application that serves static files and passes all other requests to `app`.

    The embedded profile serves the source folders and checks files at each request. Production
    serves the collected folder with hashed names.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._files = WhiteNoise(
            None,
            autorefresh=settings.EMBEDDED,
            max_age=0,
            allow_all_origins=False,
            immutable_file_test=r"\.[0-9a-f]{12}\.",
            add_headers_function=_add_nosniff,
        )
        for folder in _folders():
            self._files.add_files(folder, prefix=settings.STATIC_URL)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if not scope["path"].startswith(settings.STATIC_URL):
            await self._app(scope, receive, send)
            return
        answer = await sync_to_async(self._answer, thread_sensitive=False)(scope)
        if answer is None:
            await self._app(scope, receive, send)
            return
        response, body = answer
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [
                    (name.lower().encode(), value.encode()) for name, value in response.headers
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: dict[str, Any]) -> tuple[Response, bytes] | None:
        find = self._files.find_file if self._files.autorefresh else self._files.files.get
        file = find(scope["path"])
        if file is None:
            return None
        headers = {
            f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode("latin-1")
            for name, value in scope["headers"]
        }
        response = file.get_response(scope["method"], headers)
        if response.file is None:
            return response, b""
        with response.file as opened:
            return response, opened.read()


def _folders() -> list[str]:
    if not settings.EMBEDDED:
        return [str(settings.STATIC_ROOT)]
    found: list[Any] = list(finders.get_finders())
    return [storage.location for finder in found for storage in finder.storages.values()]


def _add_nosniff(headers: Any, path: str, url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
