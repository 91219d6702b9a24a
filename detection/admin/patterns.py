"""Patterns: to find, to understand, to resolve and to reopen; nothing else about them changes."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import QuerySet, TextField
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import pluralize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from detection import access, resolution
from detection.admin import evidence, looks
from detection.admin.lists import (
    MOST_COUNTED,
    CappedPaginator,
    SiteFilter,
    StateFilter,
    TimeFilter,
    TypeFilter,
)
from detection.models import Pattern

RESOLVE, REOPEN = "_resolve", "_reopen"


def resolve(pattern: Pattern, by: str, note: str | None = None) -> bool:
    """Resolve it; says whether it was this person who did."""
    now = resolution.resolve(pattern.pk, by, note)
    return not pattern.resolved and now.resolved_by == by


def reopen(pattern: Pattern, by: str, note: str | None = None) -> bool:
    """Reopen it; says whether that changed anything."""
    now = resolution.reopen(pattern.pk, by, note)
    return pattern.resolved and not now.resolved


@admin.register(Pattern)
class PatternAdmin(admin.ModelAdmin):
    list_display = [
        "kind",
        "severity_shown",
        "page_shown",
        "visitor_shown",
        "detected_shown",
        "state_shown",
    ]
    sortable_by = ["detected_shown"]  # what an index can sort; filters do the rest
    list_filter = [SiteFilter, StateFilter, "severity", TypeFilter, ("detected_at", TimeFilter)]
    search_fields = ["search_text"]
    search_help_text = "Words in visitor, identified id, page or explanation, whatever their case."
    ordering = ["-detected_at", "-pattern_id"]
    list_per_page = 50
    list_max_show_all = 200
    list_select_related = False  # the list shows one site at a time and nothing of it
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    view_on_site = False
    actions = ["resolve_selected", "reopen_selected"]
    readonly_fields = [
        "explanation",
        "severity_shown",
        "state_told",
        "kind",
        "page",
        "visitor_linked",
        "site",
        "detected_exact",
        "updated_exact",
    ]
    fieldsets = [
        (None, {"fields": (*readonly_fields,)}),
        ("For colleagues", {"fields": ["note"]}),
    ]
    formfield_overrides = {TextField: {"widget": AdminTextareaWidget(attrs={"rows": 3})}}

    class Media:
        css = {"all": ["detection/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Pattern | None = None) -> bool:
        return False  # its changes would go too, and leave a gap in the streams' sequence

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pattern]:
        # Wide, and no list shows them; the page of one pattern fetches what it needs.
        return super().get_queryset(request).defer("evidence", "search_text")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The dashboard's search: case folded as Unicode does, on every database."""
        return queryset.matching(q=search_term), False  # type: ignore[attr-defined]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"title": "Patterns", **(extra_context or {})})

    # --- columns and fields ---------------------------------------------------------

    @admin.display(description="type")
    def kind(self, pattern: Pattern) -> str:
        return looks.plain(pattern.type)

    @admin.display(description="severity")
    def severity_shown(self, pattern: Pattern) -> SafeString:
        return looks.severity_mark(pattern.severity)

    @admin.display(description="page")
    def page_shown(self, pattern: Pattern) -> str:
        return looks.short(pattern.page, looks.SHORT_PAGE)

    @admin.display(description="visitor")
    def visitor_shown(self, pattern: Pattern) -> SafeString:
        return looks.visitor(pattern.user_id, pattern.identified)

    @admin.display(description="detected (UTC)", ordering="detected_at")
    def detected_shown(self, pattern: Pattern) -> str:
        return looks.moment(pattern.detected_at)

    @admin.display(description="state")
    def state_shown(self, pattern: Pattern) -> SafeString:
        return looks.mark("state", pattern.state)

    @admin.display(description="visitor")
    def visitor_linked(self, pattern: Pattern) -> SafeString:
        return format_html(
            '{}<code class="bl-whole">{}</code> <a href="{}">Open on the dashboard</a>',
            format_html('<b class="bl-known">{}</b> ', pattern.identified)
            if pattern.identified
            else "",
            pattern.user_id,
            looks.dashboard_url(pattern.user_id),
        )

    @admin.display(description="detected")
    def detected_exact(self, pattern: Pattern) -> str:
        return looks.moment(pattern.detected_at, exact=True)

    @admin.display(description="last change")
    def updated_exact(self, pattern: Pattern) -> str:
        return looks.moment(pattern.updated_at, exact=True)

    @admin.display(description="state")
    def state_told(self, pattern: Pattern) -> SafeString:
        since = pattern.recovered_at or pattern.resolved_at
        by = f"by {pattern.resolved_by}" if pattern.resolved_by else ""
        told = format_html("{} {}", by, looks.moment(since, exact=True)) if since else ""
        return format_html("{} {}", looks.mark("state", pattern.state), told)

    # --- actions on a list ----------------------------------------------------------

    @admin.action(description="Resolve the selected patterns", permissions=["change"])
    def resolve_selected(self, request: HttpRequest, queryset: QuerySet[Pattern]) -> None:
        done, left = self._each(request, queryset, resolve)
        self._say(request, done, "resolved", [(len(left), "already")])

    @admin.action(description="Reopen the selected patterns", permissions=["change"])
    def reopen_selected(self, request: HttpRequest, queryset: QuerySet[Pattern]) -> None:
        done, left = self._each(request, queryset, reopen)
        recovered = sum(pattern.recovered for pattern in left)
        rest = [(len(left) - recovered, "open already"), (recovered, "recovered and stay closed")]
        self._say(request, done, "reopened", rest)

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[Pattern],
        act: Callable[[Pattern, str], bool],
    ) -> tuple[int, list[Pattern]]:
        """How many `act` changed, and those it left as they were."""
        by = access.name_of(request.user)
        patterns = list(queryset[:MOST_COUNTED])
        left = [pattern for pattern in patterns if not act(pattern, by)]
        return len(patterns) - len(left), left

    def _say(self, request: HttpRequest, done: int, what: str, rest: list[tuple[int, str]]) -> None:
        """`3 patterns resolved, 1 already.`"""
        said = [f"{done} pattern{pluralize(done)} {what}"]
        said += [f"{number} {why}" for number, why in rest if number]
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, f"{', '.join(said)}.", level)

    # --- the page of one pattern ------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Pattern, form: ModelForm, change: bool) -> None:
        """Store the note alone, or with the step whose button was pressed."""
        by = access.name_of(request.user)
        if RESOLVE in request.POST:
            won, verb = resolve(obj, by, obj.note), "resolved"
        elif REOPEN in request.POST:
            won, verb = reopen(obj, by, obj.note), "reopened"
        else:
            obj.save(update_fields=["note"])
            return
        if won:
            self.message_user(request, f"The pattern was {verb}.", messages.SUCCESS)
        else:
            state = Pattern.objects.get(pk=obj.pk).state
            message = f"The pattern was not {verb}: it is {state} already."
            self.message_user(request, message, messages.WARNING)

    def response_change(self, request: HttpRequest, obj: Pattern) -> HttpResponse:
        if RESOLVE in request.POST or REOPEN in request.POST:
            return HttpResponseRedirect(request.get_full_path())
        return super().response_change(request, obj)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Pattern | None = None,
    ) -> HttpResponse:
        if obj is not None:
            context |= {
                "title": capfirst(str(obj)),
                "subtitle": None,
                "facts": evidence.facts(obj),
                "events": evidence.rows(obj),
                "history": [
                    {
                        "change": step,
                        "when": looks.moment(step.at, exact=True),
                        "severity": looks.severity_mark(step.severity),
                    }
                    for step in obj.changes.order_by("sequence")
                ],
                "dashboard_url": looks.dashboard_url(obj.user_id),
            }
        return super().render_change_form(request, context, add, change, form_url, obj)
