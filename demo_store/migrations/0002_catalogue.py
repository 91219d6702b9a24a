"""Puts the shipped catalogue on the shelves; what is there already stays as it is."""

from django.db import migrations

from demo_store import catalogue


def fill(apps, schema_editor):
    catalogue.add_missing(apps)


class Migration(migrations.Migration):
    dependencies = [("demo_store", "0001_initial")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
