"""The chosen visitor: what their window holds now."""

from dataclasses import dataclass

from detection.api import EngineUnavailable, Event, VisitorWindow, visitor_window


@dataclass(frozen=True, slots=True)
class Chosen:
    """A visitor by id, "" for none. window: None where nothing was heard for a while."""

    user_id: str
    window: VisitorWindow | None = None
    known: bool = True

    @property
    def events(self) -> list[Event]:
        """Newest first."""
        return self.window.events[::-1] if self.window else []

    @property
    def version(self) -> str:
        """Changes whenever what is shown does, so that a panel that has it asks for no more."""
        window = self.window
        if window is None:
            return "empty" if self.known else "unknown"
        last = window.events[-1].timestamp if window.events else 0
        hidden = "hidden" if window.hidden else "visible"
        return f"{window.last_seen}.{len(window.events)}.{last}.{hidden}"


def read_visitor(site: int, user_id: str) -> Chosen:
    if not user_id:
        return Chosen("")
    try:
        return Chosen(user_id, visitor_window(site, user_id))
    except EngineUnavailable:
        return Chosen(user_id, known=False)
