"""The steps that patterns took: append-only, so the admin shows them and changes none."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from detection.admin import looks
from detection.admin.lists import CappedPaginator, SiteFilter, TimeFilter
from detection.models import PatternChange, normal


@admin.register(PatternChange)
class PatternChangeAdmin(admin.ModelAdmin):
    list_display = ["sequence", "at_shown", "kind", "severity_shown", "pattern_linked", "actor"]
    list_display_links = None
    sortable_by = ["sequence"]
    list_filter = [SiteFilter, "kind", ("at", TimeFilter)]
    list_select_related = ["pattern"]
    search_fields = ["actor", "pattern__search_text"]
    search_help_text = "Who did it, or words in the pattern's visitor, page or explanation."
    ordering = ["-sequence"]
    list_per_page = 50
    list_max_show_all = 200
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = None

    class Media:
        css = {"all": ["detection/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[PatternChange]:
        wide = ("explanation", "pattern__explanation", "pattern__evidence", "pattern__search_text")
        return super().get_queryset(request).select_related("pattern").defer(*wide)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = normal(search_term)
        if term:
            found = Q(pattern__search_text__contains=term) | Q(actor__icontains=search_term.strip())
            queryset = queryset.filter(found)
        return queryset, False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = {"title": "Pattern changes"}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    @admin.display(description="at (UTC)")
    def at_shown(self, change: PatternChange) -> str:
        return looks.moment(change.at, exact=True)

    @admin.display(description="severity")
    def severity_shown(self, change: PatternChange) -> SafeString:
        return looks.severity_mark(change.severity)

    @admin.display(description="pattern")
    def pattern_linked(self, change: PatternChange) -> SafeString:
        pattern = change.pattern
        return format_html(
            '<a href="{}">{} on {}</a>',
            looks.pattern_url(pattern.pk),
            looks.plain(pattern.type),
            looks.short(pattern.page, looks.SHORT_PAGE),
        )
