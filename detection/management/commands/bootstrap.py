"""`manage.py bootstrap`: everything between a fresh checkout and a running server."""

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

ADMIN = "admin"


class Command(BaseCommand):
    help = "Migrate the database, make an admin account if there is none, print the addresses."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        password = self._make_admin()
        base = f"http://127.0.0.1:{settings.PORT}"
        lines = [
            ("Demo store", f"{base}/demo"),
            ("Dashboard", f"{base}/"),
            ("Admin", f"{base}/admin/"),
            ("AI explanations", "off; explanations are written by rules"),
        ]
        if password:
            lines.append(("Admin account", f"{ADMIN}   password: {password}"))
            lines.append(("", "(shown this once; change it with: manage.py changepassword admin)"))
        self.stdout.write("")
        self.stdout.write(self.style.SUCCESS("BehaviourLens"))
        for name, value in lines:
            self.stdout.write(f"  {name:<16} {value}")
        self.stdout.write("")

    def _make_admin(self) -> str:
        """The password of a new admin account; "" where someone can log in already."""
        users = get_user_model()
        if users.objects.filter(is_superuser=True).exists():
            return ""
        password = secrets.token_urlsafe(12)
        users.objects.create_superuser(username=ADMIN, email="", password=password)
        return password
