"""A site without origins took events from any; one that is in use goes on doing so, and says so."""

from django.db import migrations


def keep_open(apps, schema_editor):
    Site = apps.get_model("detection", "Site")
    JournalEntry = apps.get_model("detection", "JournalEntry")
    heard = JournalEntry.objects.exclude(site=None).values("site")
    used = Site.objects.filter(last_change__gt=0) | Site.objects.filter(pk__in=heard)
    used.filter(allowed_origins="").update(allowed_origins="*")


class Migration(migrations.Migration):
    dependencies = [("detection", "0005_sites_and_callers")]

    operations = [migrations.RunPython(keep_open, migrations.RunPython.noop)]
