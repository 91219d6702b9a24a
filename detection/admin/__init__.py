"""The admin: patterns to work with, their changes to read, sites to look after.

Patterns and changes are never deleted here. The sequence of a site's changes has no gap,
and a client that reconnects is repaired from it; a deletion would tear one.
"""

from django.contrib import admin

from detection.admin.changes import PatternChangeAdmin
from detection.admin.patterns import PatternAdmin
from detection.admin.sites import SiteAdmin

__all__ = ["PatternAdmin", "PatternChangeAdmin", "SiteAdmin"]

admin.site.site_header = "BehaviourLens"
admin.site.site_title = "BehaviourLens"
admin.site.index_title = "Administration"
admin.site.index_template = "admin/overview.html"
admin.site.site_url = "/"
# The lists need its width; breadcrumbs and the first page lead everywhere it does.
admin.site.enable_nav_sidebar = False
