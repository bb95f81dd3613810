"""The pages of the lessons, built once, and what can be read off them.

MINIGEN_SITE names a folder in which they have been built already, as `.ci/run` does.
"""

from __future__ import annotations

import base64
import io
import os
import re
from html import unescape
from pathlib import Path

PRINTED = re.compile(r'<pre class="out">(.*?)</pre>', re.S)
SOURCE = re.compile(r'<figure class="source">(.*?)</figure>', re.S)
PICTURE = re.compile(
    r'<figure class="picture" id="(\w+)">.*?base64,([^"]+)"></figure>', re.S
)


def built() -> Path | None:
    """Return the folder in which the pages have been built, if there is one."""
    named = os.environ.get("MINIGEN_SITE")
    return Path(named) if named else None


class Shown:
    """What a lesson showed when its page was built.

    printed: a list of texts; sources: the package's code that it printed, as one text;
    pictures: Pillow images by their names.
    """

    def __init__(self, page: str):
        from PIL import Image

        self.printed = [unescape(text) for text in PRINTED.findall(page)]
        marked = "\n".join(SOURCE.findall(page))
        self.sources = unescape(re.sub("<[^>]+>", "", marked))
        self.pictures = {
            name: Image.open(io.BytesIO(base64.b64decode(data)))
            for name, data in PICTURE.findall(page)
        }
