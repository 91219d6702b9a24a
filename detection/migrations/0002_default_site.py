"""The site that the local default needs, and is all that it needs."""

from django.db import migrations

from detection.models import new_key


def make_default_site(apps, schema_editor):
    Site = apps.get_model("detection", "Site")
    if not Site.objects.exists():
        # No pk given: the first row gets 1, and PostgreSQL's sequence knows of it.
        Site.objects.create(name="Default site", key=new_key())


class Migration(migrations.Migration):
    dependencies = [("detection", "0001_initial")]

    operations = [migrations.RunPython(make_default_site, migrations.RunPython.noop)]
