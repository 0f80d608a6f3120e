"""Where static files come from, and the names that pages use for them."""

import posixpath
import re
from collections.abc import Iterator
from gzip import compress
from hashlib import md5
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from whitenoise.storage import CompressedManifestStaticFilesStorage

from maru.assets import bundles

HASH: Final = re.compile(r"\.([0-9a-f]{12})(?=\.\w+$)")
_REFERENCE: Final = re.compile(r'(\burl\(")(\.[^"]+)(")')
_TEXT: Final = (".css", ".js", ".svg", ".json")


class Finder(finders.FileSystemFinder):
    """Finds the files of `static/`; bundles stand for the files that they contain."""

    def list(self, ignore_patterns: Any) -> Iterator[tuple[str, Any]]:
        for path, storage in super().list(ignore_patterns):
            if not bundles.is_part(path):
                yield path, storage
        built = BuiltFiles()
        for bundle in bundles.names():
            yield bundle, built


class BuiltFiles(InMemoryStorage):
    """The bundles. Each is built when it is opened first: a start of a server only lists them."""

    def _open(self, name: str, mode: str = "rb") -> Any:
        if not self.exists(name):
            text = bundles.build(name, settings.STATICFILES_DIRS[0])
            self.save(name, ContentFile(text.encode()))
        return super()._open(name, mode)  # type: ignore[misc]  # the stubs lack it


class CollectedFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # has no types
    """Collected files with hashed names; references between files use the hashed names."""

    support_js_module_import_aggregation = True


class SourceFile(NamedTuple):
    """A file with a hashed name; `changed` are the modification times of its sources."""

    sources: list[Path]
    changed: list[int]
    body: bytes
    gzipped: bytes
    hash: str
    content_type: str


class SourceFiles(StaticFilesStorage):
    """Serves the source folders under hashed names, and reads a file again when it has changed.

    The embedded profile needs no collected folder, and a page that is loaded again shows an edit.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: dict[str, SourceFile] = {}

    def url(self, name: str | None, force: bool = False) -> str:  # noqa: FBT001 # as in Django
        file = self.read(name or "")
        if file is None:
            return super().url(name)
        stem, suffix = posixpath.splitext(name or "")
        return super().url(f"{stem}.{file.hash}{suffix}")

    def read(self, name: str) -> SourceFile | None:
        """Return the file or bundle, or None if there is none of this name."""
        known = self._known.get(name)
        if known is not None and _times(known.sources) == known.changed:
            return known
        root = Path(settings.STATICFILES_DIRS[0])
        if name in bundles.names():
            files = [root / path for path in bundles.watched(name, root)]
            sources = [*files, *{file.parent for file in files}]  # a folder changes with a new file
            changed = _times(sources)
            body = self._with_hashes(name, bundles.build(name, root)).encode()
        else:
            found = finders.find(name)
            if not isinstance(found, str) or not Path(found).is_file():
                return None
            sources = [Path(found)]
            changed, body = _times(sources), Path(found).read_bytes()
        self._known[name] = SourceFile(
            sources,
            changed,
            body,
            compress(body, mtime=0) if name.endswith(_TEXT) else b"",
            md5(body, usedforsecurity=False).hexdigest()[:12],
            guess_type(name)[0] or "application/octet-stream",
        )
        return self._known[name]

    def _with_hashes(self, name: str, text: str) -> str:
        """Replace the relative references in a bundle by hashed addresses."""
        folder = posixpath.dirname(name)

        def hashed(match: re.Match[str]) -> str:
            target = posixpath.normpath(posixpath.join(folder, match[2]))
            return f"{match[1]}{self.url(target)}{match[3]}"

        return _REFERENCE.sub(hashed, text)


def _times(sources: list[Path]) -> list[int]:
    """Return the modification times; 0 for a file that was removed."""
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in sources]
