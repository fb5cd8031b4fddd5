"""Lists of tables that may hold millions of rows: nothing is counted to its end, sorted whole or searched for minutes.

Up to MOST rows under the filters that an index answers, a list is as Django makes it: counted, sorted by any column, in
numbered pages. Beyond that its rows come in the order of their keys, and a page begins after the last row of the one
before, so that the last page costs what the first does. A filter without an index, or a search, then looks through the
rows for a MOMENT and says how far it came; whoever wants more goes on from there.
"""

from collections.abc import Collection, Sequence
from itertools import product
from time import perf_counter
from typing import Any

from django.contrib.admin.utils import build_q_object_from_lookup_parameters
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property
from unfold.views import ChangeList

from labelhub.heads import first_keys

MOST = 10_000  # rows that are counted, and sorted as one likes
MOST_PARTS = 64
MOMENT = 0.03  # seconds a page may look through rows that no index leads to
FIRST_STEP, LONGEST_STEP = 2_000, 200_000  # keys looked through by one statement
AFTER, BEFORE = "after", "before"


class MoreThan(int):
    """A count that was broken off at this number."""

    def __str__(self):
        return f"more than {int(self):,}"


def counted(rows: QuerySet) -> int:
    """How many `rows` there are, up to MOST; the index they are found by is read no further."""
    number = rows.order_by()[: MOST + 1].count()
    return MoreThan(MOST) if number > MOST else number


class FirstPages(Paginator):
    """Numbered pages of the first MOST rows: for work that goes on from the front."""

    @cached_property
    def count(self):
        return min(MOST, counted(self.object_list))  # type: ignore[arg-type]


class ByKey(Paginator):
    """Stands where Django expects a paginator; the pages are the change list's own."""

    template_name = "hub/by_key.html"

    @property
    def count(self):
        return MoreThan(MOST)


class LongChangeList(ChangeList):
    """A list that grows without end, of a model admin that is a LongList."""

    is_long = False
    reached: int | None = None  # how far the rows were looked through, where a moment was not enough for all
    further_address: str | bool = False  # where to look on from there
    queryset: QuerySet

    @property
    def none_found(self) -> str | None:
        """The template that says why no row is shown, where it is another than Unfold's."""
        return None if self.reached is None else "hub/none_so_far.html"

    def get_filters(self, request):
        found = super().get_filters(request)
        self.other_lookups = found[2]
        return found

    def get_queryset(self, request, exclude_parameters=None):
        for name in (AFTER, BEFORE):  # places, not filters; and another filter begins at the beginning
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request):
        by_index = self.by_index(request)
        self.is_long = isinstance(counted(by_index), MoreThan)
        if not self.is_long:
            return super().get_results(request)
        self.result_count = self.full_result_count = MoreThan(MOST)
        self.show_full_result_count, self.show_admin_actions = False, True
        self.can_show_all, self.multi_page = False, True
        self.paginator = ByKey(self.queryset, self.list_per_page)
        self.is_descending = self.asked_direction()
        self.sortable_by = [name for name in self.list_display if name in self.model_admin.in_key_order]
        before, after = key_in(request.GET.get(BEFORE)), key_in(request.GET.get(AFTER))
        self.turn(request, by_index, back=before is not None, place=after if before is None else before)

    # What is asked for ------------------------------------------------------------------------------------------------

    def by_index(self, request) -> QuerySet:
        """The rows under those of the filters that an index answers, and under a search that named a row."""
        named = self.model_admin.named(self.root_queryset, self.query) if self.query else None
        rows = self.root_queryset if named is None else named
        for spec in self.filter_specs:
            if self.is_indexed(spec.expected_parameters()):
                narrowed = spec.queryset(request, rows)
                rows = rows if narrowed is None else narrowed
        if self.model_admin.states and self.asked("status") and not self.asked("project"):
            projects = self.model_admin.projects(request)  # all there are to see: the index begins with them
            if len(projects) <= MOST_PARTS:
                rows, self.queryset = (some.filter(project__in=projects) for some in (rows, self.queryset))
        lookups = {name: value for name, value in self.other_lookups.items() if self.is_indexed([name])}
        self.is_found = not (self.query and named is None) and self.is_indexed(self.get_filters_params())
        return rows.filter(build_q_object_from_lookup_parameters(lookups))

    def is_indexed(self, parameters: Collection[Any]) -> bool:
        return all(field_of(name) in self.model_admin.indexed for name in parameters)

    def asked_direction(self) -> bool:
        """Whether the newest come first."""
        for part in (self.params.get("o") or "").split("."):
            _, sign, column = part.rpartition("-")
            named = (
                self.list_display[int(column)] if column.isdecimal() and int(column) < len(self.list_display) else ""
            )
            if named in self.model_admin.in_key_order:
                return sign == "-"
        return str(next(iter(self._get_default_ordering()), "")).startswith("-")

    # A page -----------------------------------------------------------------------------------------------------------

    def turn(self, request, by_index: QuerySet, *, back: bool, place: int | None) -> None:
        """Find the rows of the page after `place`, or before it, and the places its neighbours begin at."""
        falling = self.is_descending != back
        in_order = {field_of(name) for name in self.get_filters_params()} <= {"project", "status"}
        parts = self.model_admin.parts(request, by_index, self.asked("project"), self.asked("status"))
        if self.is_found and in_order and (parts is not None or not by_index.query.where):
            keys, self.reached = self.next_keys(by_index, parts, falling, place), None
        else:
            keys, self.reached = self.looked_through(falling, place)
        more = len(keys) > self.list_per_page
        keys = keys[: self.list_per_page]
        begins = keys[0] if keys else None if place is None else place + (-1 if falling else 1)
        goes_on = keys[-1] if more else self.reached
        before, after = (goes_on, begins) if back else (None if place is None else begins, goes_on)
        self.previous_address = before is not None and self.get_query_string({BEFORE: before})
        self.next_address = after is not None and self.get_query_string({AFTER: after})
        if self.reached is not None:
            self.further_address = self.previous_address if back else self.next_address
        order = "-pk" if self.is_descending else "pk"
        self.result_list = list(self.queryset.filter(pk__in=keys).order_by(order))

    def asked(self, field: str) -> list[str]:
        """The values that the address wants `field` to have."""
        values = [value for name, found in self.filter_params.items() if field_of(name) == field for value in found]
        return [one for value in values for one in str(value).split(",") if one]

    def next_keys(self, rows, parts, falling, place) -> list[int]:
        order = "-pk" if falling else "pk"
        beyond = {} if place is None else {"pk__lt" if falling else "pk__gt": place}
        if parts is None:
            return list(rows.filter(**beyond).order_by(order).values_list("pk", flat=True)[: self.list_per_page + 1])
        heads = first_keys(
            [part.filter(**beyond).order_by(order) for part in parts], self.list_per_page + 1, newest_first=falling
        )
        found = self.model._default_manager.filter(pk__in=heads).values_list("pk", flat=True)
        return sorted(found, reverse=falling)

    def looked_through(self, falling: bool, place: int | None) -> tuple[list[int], int | None]:
        """The keys of up to a page of rows, and how far they were looked for if a moment was not enough to see the end."""
        everything = self.model._default_manager.order_by("pk").values_list("pk", flat=True)
        first, last = everything.first(), everything.last()  # asked for both at once, SQLite reads the table
        if first is None or last is None:
            return [], None
        start, end = (last + 1, first) if falling else (first - 1, last)
        at = start if place is None else place
        keys: list[int] = []
        until, step = perf_counter() + MOMENT, FIRST_STEP
        rows = self.queryset.order_by("-pk" if falling else "pk").values_list("pk", flat=True)
        while (at > end) if falling else (at < end):
            began = perf_counter()
            span = {"pk__lt": at, "pk__gte": at - step} if falling else {"pk__gt": at, "pk__lte": at + step}
            keys += rows.filter(**span)[: self.list_per_page + 1 - len(keys)]
            if len(keys) > self.list_per_page:
                return keys, None
            at += -step if falling else step
            left, took = until - perf_counter(), perf_counter() - began
            if left < 0 and ((at > end) if falling else (at < end)):
                return keys, at
            step = max(FIRST_STEP, min(LONGEST_STEP, 4 * step, int(step * left / max(took, 1e-6))))
        return keys, None


class LongList:
    """For a ModelAdmin whose table may hold millions of rows."""

    indexed: Collection[str] = ("id", "pk")  # fields by which an index finds rows
    in_key_order: Collection[str] = ("created_at",)  # columns that rise with the key
    states: Sequence[str] = ()  # of a model with an index on (project, status, id)

    def get_changelist(self, request, **kwargs):
        return LongChangeList

    def named(self, rows: QuerySet, term: str) -> QuerySet | None:
        """The rows that `term` is the id of; None where it is a text to look for."""
        return None

    def get_search_results(self, request, queryset, search_term):
        named = self.named(queryset, search_term) if search_term else None
        if named is not None:
            return named, False
        return super().get_search_results(request, queryset, search_term)  # type: ignore[misc]

    def parts(self, request, rows: QuerySet, projects: list[str], states: list[str]) -> list[QuerySet] | None:
        """`rows` by project and state, as an index on (project, status, id) holds them; None where the table will do.

        Asked for them all in the order of their keys, a database sorts them first or walks over everybody's.
        """
        if not self.states:
            return None
        if not projects and (states or not request.user.is_superuser):
            projects = self.projects(request)
        if not projects or len(projects) * len(states or self.states) > MOST_PARTS:
            return None
        return [rows.filter(project=one, status=state) for one, state in product(projects, states or self.states)]

    def projects(self, request) -> list[Any]:
        """Those whose rows the visitor may see."""
        raise NotImplementedError


def field_of(parameter: Any) -> str:
    """The field that a parameter of the address asks about."""
    return str(parameter).split("__")[0]


def key_in(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 19 else None
