"""The rules, one file each. This tuple is the list; there is no other registry."""

from typing import Final

from .abandonment import Abandonment
from .base import Observe, Rule
from .hesitation import Hesitation
from .navigation_loop import NavigationLoop

RULES: Final[tuple[type[Rule], ...]] = (Hesitation, NavigationLoop, Abandonment)

__all__ = ["RULES", "Observe", "Rule"]
