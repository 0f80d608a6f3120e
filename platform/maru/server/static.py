"""Serves static files in front of Django, without session, middleware or database."""

import fcntl
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.exceptions import SuspiciousFileOperation
from django.core.management import call_command
from whitenoise.base import WhiteNoise

from maru.assets.storages import HASH, SourceFiles

Answer = tuple[int, Iterable[tuple[str, str]], bytes]
"""Status, headers and body of a response."""

_READS: Final = frozenset({"GET", "HEAD"})
_IMMUTABLE: Final = "max-age=315360000, public, immutable"


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

    A file whose name has the hash of its content is immutable. Production serves the collected
    folder. The embedded profile serves the source folders, and bundles that it builds from them.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._files = WhiteNoise(
            None,
            autorefresh=settings.EMBEDDED,
            max_age=0,
            allow_all_origins=False,
            immutable_file_test=HASH.pattern,
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
        status, headers, body = answer
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: dict[str, Any]) -> Answer | None:
        headers = {
            f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode("latin-1")
            for name, value in scope["headers"]
        }
        if (answer := _answer_from_sources(scope, headers)) is not None:
            return answer
        find = self._files.find_file if self._files.autorefresh else self._files.files.get
        file = find(scope["path"])
        if file is None:
            return None
        response = file.get_response(scope["method"], headers)
        if response.file is None:
            return response.status, response.headers, b""
        with response.file as opened:
            return response.status, response.headers, opened.read()


def _answer_from_sources(scope: dict[str, Any], headers: dict[str, str]) -> Answer | None:
    """Return the response for a hashed name in the embedded profile, or None.

    An old hash gets the present content, which must not be cached under that name.
    """
    storage: Any = staticfiles_storage
    path, is_static = scope["path"], scope["path"].startswith(settings.STATIC_URL)
    match = HASH.search(path)
    if match is None or not (is_static and isinstance(storage, SourceFiles)):
        return None
    if scope["method"] not in _READS:
        return None
    try:
        file = storage.read(HASH.sub("", path.removeprefix(settings.STATIC_URL)))
    except SuspiciousFileOperation:  # the path leads out of the source folders
        return None
    if file is None:
        return None
    is_current = match[1] == file.hash
    is_compressed = bool(file.gzipped) and "gzip" in headers.get("HTTP_ACCEPT_ENCODING", "")
    body = file.gzipped if is_compressed else file.body
    found = [
        ("Content-Type", file.content_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", _IMMUTABLE if is_current else "no-store"),
        ("ETag", f'"{file.hash}{"-gzip" if is_compressed else ""}"'),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if is_compressed:
        found.append(("Content-Encoding", "gzip"))
    return HTTPStatus.OK, found, b"" if scope["method"] == "HEAD" else body


def _folders() -> list[str]:
    if not settings.EMBEDDED:
        return [str(settings.STATIC_ROOT)]
    found: list[Any] = list(finders.get_finders())
    return [storage.location for finder in found for storage in finder.storages.values()]


def _add_nosniff(headers: Any, path: str, url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
