"""python docs/check_links.py FOLDER: names the links of a built site that lead to no file, or to no anchor in it."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ELSEWHERE = re.compile(r"\w+:")  # https, mailto, data, javascript


class Page(HTMLParser):
    """What a page links to, and the anchors it has."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps where a tag leads and what it is called; see HTMLParser."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(unquote(value))
            elif name in ("id", "name") and value:
                self.anchors.add(value)


@cache
def read(path: Path) -> Page:
    """Returns a page."""
    return Page(path.read_text(errors="replace"))


def dead_links(folder: Path) -> Iterator[str]:
    """Yields `PAGE: LINK` of each link that leads nowhere."""
    for path in sorted(folder.rglob("*.html")):
        for link in read(path).links:
            if not ELSEWHERE.match(link) and not leads_somewhere(path, link):
                yield f"{path.relative_to(folder)}: {link}"


def leads_somewhere(path: Path, link: str) -> bool:
    """Says whether a link of a page has a file, and an anchor where it names one."""
    place, _, anchor = link.partition("#")
    target = path.parent / place.partition("?")[0] if place else path
    if not target.is_file():
        return False
    return not anchor or target.suffix != ".html" or anchor in read(target.resolve()).anchors


if __name__ == "__main__":
    found = list(dead_links(Path(sys.argv[1])))
    sys.exit("\n".join(found) if found else 0)
