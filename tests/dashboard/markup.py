"""Reading pages the way a browser does, as far as tests need it."""

from html.parser import HTMLParser


class Markup(HTMLParser):
    """The elements of a page, with their attributes, and the text in scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.text = ""
        self._within = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in {"script", "style"}:
            self.inline += data.strip()
        else:
            self.text += data

    def all(self, tag: str = "", **attributes: str) -> list[dict[str, str | None]]:
        """Attributes of the elements of that tag that have these attributes (`_` for `-`)."""
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.elements
            if (not tag or name == tag) and wanted.items() <= found.items()
        ]

    @property
    def rows(self) -> list[str | None]:
        """The ids of the patterns in the feed, in order."""
        return [row["data-pattern-id"] for row in self.all("li", class_="pattern")]
