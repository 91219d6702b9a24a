"""What the lists share: a count that is never a full one, and filters that indexes serve."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from detection.engine.rules import RULES
from detection.models import DEFAULT_SITE_ID, Site

# Rows a list counts and pages through, and that one action takes; filters reach the others.
MOST_COUNTED = 2_000


class CappedPaginator(Paginator):
    """Counts up to MOST_COUNTED and says where there are more (`capped`)."""

    @cached_property
    def _counted(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by()[: MOST_COUNTED + 1].count()
        return len(rows)

    @property
    def capped(self) -> bool:
        return self._counted > MOST_COUNTED

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_COUNTED)


class SiteFilter(admin.SimpleListFilter):
    """One site at a time, the default one unless another is chosen, for every index begins
    with the site. Out of sight where there is only one."""

    title = "site"
    parameter_name = "site"
    template = "admin/detection/site_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(pk), name) for pk, name in Site.objects.values_list("pk", "name")]

    def value(self) -> str:
        known = [str(pk) for pk, _ in self.lookup_choices]
        asked = super().value()
        return asked if asked in known else str(DEFAULT_SITE_ID)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        for pk, name in self.lookup_choices:
            yield {
                "selected": self.value() == str(pk),
                "query_string": changelist.get_query_string({self.parameter_name: pk}),
                "display": name,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(site_id=int(self.value()))


class TypeFilter(admin.SimpleListFilter):
    """The types that rules detect, from the rules: the table need not be asked."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(rule.name, rule.name.replace("-", " ").capitalize()) for rule in RULES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class TimeFilter(admin.DateFieldListFilter):
    """Today, the past week, month or year; named for what people look for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.title = "time"


class StateFilter(admin.SimpleListFilter):
    """Open, resolved by a person, or recovered because the visitor completed after all."""

    title = "state"
    parameter_name = "state"
    _where: dict[str, dict[str, object]] = {
        "open": {"resolved_at__isnull": True},
        "resolved": {"resolved_at__isnull": False, "recovered_at__isnull": True},
        "recovered": {"recovered_at__isnull": False},
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(state, state.capitalize()) for state in self._where]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**self._where.get(self.value() or "", {}))
