"""Loads our templates without their indentation, which is for people who read the source."""

import re
from typing import Final

from django.template import Origin
from django.template.loaders.filesystem import Loader as FilesystemLoader

_INDENTATION: Final = re.compile(r"\s*\n\s*")


class Loader(FilesystemLoader):
    """Django's loader of `DIRS`; of HTML it leaves one line feed of all space around a line feed.

    HTML takes all this space as one space. No template of ours has it inside of preformatted text.
    A page with 25 rooms and 24 messages is a tenth shorter, and fewer pieces are joined.
    """

    def get_contents(self, origin: Origin) -> str:
        contents = super().get_contents(origin)
        if not str(origin.name).endswith(".html"):
            return contents
        return _INDENTATION.sub("\n", contents)
