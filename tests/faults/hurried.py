"""A server that takes snapshots all the time, in small pieces, so that faults meet them.

`python -m tests.faults.hurried NUMBERS …` is daphne, with these numbers (JSON) in a hurry.
"""

import json
import os
import runpy
import sys

import django

from tests.server import Server

# As often as a server can.
ALWAYS = {"SNAPSHOT_EVENTS": 50, "SNAPSHOT_PAUSE_S": 0.2, "SNAPSHOT_VISITORS": 5}


class Hurried(Server):
    """In a hurry from its next start on where `hurry` names numbers of `detection.keeping`."""

    hurry: dict[str, float] = {}

    def command(self) -> list[str]:
        ordinary = super().command()
        if not self.hurry:
            return ordinary
        numbers = json.dumps(self.hurry)
        return [sys.executable, "-m", "tests.faults.hurried", numbers, *ordinary[3:]]


def main(numbers: dict[str, float]) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "behaviourlens.settings"
    django.setup()
    from detection import keeping  # it needs Django to be set up

    for name, number in numbers.items():
        assert hasattr(keeping, name)
        setattr(keeping, name, number)
    runpy.run_module("daphne", run_name="__main__")


if __name__ == "__main__":
    main(json.loads(sys.argv.pop(1)))
