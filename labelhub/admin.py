"""What every page of the admin shares: who may open it, choices limited to what one may see, badges, tables, JSON."""

import json
from collections.abc import Mapping
from functools import cache, wraps
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, TextFilter
from unfold.decorators import display

from labelhub.facts import Fact

EMPTY = "–"
COLOURS = {
    "PENDING": "warning",
    "QUEUED": "warning",
    "NOT_STARTED": "warning",
    "VALIDATING": "info",
    "SUBMITTING": "info",
    "RUNNING": "info",
    "APPROVED": "success",
    "COMPLETED": "success",
    "DONE": "success",
    "READY": "success",
    "SUCCESS": "success",
    "ACTIVE": "success",
    "FAILED": "danger",
    "REJECTED": "danger",
    "REVOKED": "danger",
    "LOCKED": "danger",
    "EXPIRED": "warning",
    "COUNTING": "warning",
}  # a state that is not named here (CANCELLED) stays grey


class ScopedChoices:
    """For a ModelAdmin or an inline: a form offers, and accepts, only related rows that their own list would show."""

    admin_site: admin.AdminSite

    def formfield_for_foreignkey(self, db_field, request, **kwargs):
        kwargs.setdefault("queryset", self.choices_of(db_field, request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_manytomany(self, db_field, request, **kwargs):
        kwargs.setdefault("queryset", self.choices_of(db_field, request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]

    def choices_of(self, db_field, request):
        """The rows `db_field` may point to; none where the related model has no list of its own."""
        model = db_field.remote_field.model
        if not self.admin_site.is_registered(model):
            return model._default_manager.none()
        return self.admin_site.get_model_admin(model).get_queryset(request)


class HubAdmin(ScopedChoices, ModelAdmin):
    """A list and a form of the hub. Whoever may not see a row, or a list, finds nothing there: 404."""

    list_per_page = 50
    list_max_show_all = 200
    show_full_result_count = False  # counting a big table twice for one page is what makes lists slow
    list_filter_submit = True
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = EMPTY
    deletes_selected = False  # Django's page for it lists every row and what hangs on it: for small tables only

    def get_actions(self, request):
        actions = super().get_actions(request)
        if not self.deletes_selected:
            actions.pop("delete_selected", None)
        return actions

    def may(self, request: HttpRequest, permission: str, obj=None) -> bool:
        """Whether the visitor holds `permission` ("samples.review_sample") on `obj`, or on anything at all."""
        return request.user.has_perm(permission, obj)

    def allows(self, request, action, obj) -> bool:
        """`may`, for this model's `action`; Unfold's buttons know the object only by its id."""
        if isinstance(obj, str | int):
            obj = self.get_object(request, unquote(str(obj)))
            if obj is None:
                return False
        return self.may(request, f"{self.opts.app_label}.{action}_{self.opts.model_name}", obj)

    def has_module_permission(self, request):
        return self.has_view_permission(request)

    def has_view_permission(self, request, obj=None):
        return self.allows(request, "view", obj)

    def has_add_permission(self, request):
        return self.allows(request, "add", None)

    def has_change_permission(self, request, obj=None):
        return self.allows(request, "change", obj)

    def has_delete_permission(self, request, obj=None):
        return self.allows(request, "delete", obj)

    def get_unfold_action(self, action):
        """As Unfold makes it, but a button of a row that the visitor may not see is not there: 404 before 403."""
        made = super().get_unfold_action(action)
        method = made.method

        @wraps(method)
        def guarded(request, *args, **kwargs):
            if "object_id" in kwargs:
                self.row_or_404(request, kwargs["object_id"])
            return method(request, *args, **kwargs)

        made.method = guarded
        return made

    def get_object(self, request, object_id, from_field=None):
        """The row, read once a request: Django and each of Unfold's buttons ask for it anew."""
        seen = request.__dict__.setdefault("_hub_rows", {})
        key = (self.model, str(object_id), from_field)
        if key not in seen:
            seen[key] = super().get_object(request, object_id, from_field)
        return seen[key]

    def row_or_404(self, request, object_id):
        """The row with that id, if the visitor may see it."""
        row = self.get_object(request, unquote(str(object_id)))
        if row is None or not self.has_view_or_change_permission(request, row):
            raise Http404
        return row

    def changelist_view(self, request, extra_context=None):
        if not self.has_view_or_change_permission(request):
            raise Http404
        return super().changelist_view(request, extra_context)

    def changeform_view(self, request, object_id=None, form_url="", extra_context=None):
        if object_id is not None:
            self.row_or_404(request, object_id)
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Fact as fact:  # the domain refused what the form let through; nothing was saved
            self.message_user(request, f"Not saved: {fact.message}.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def delete_view(self, request, object_id, extra_context=None):
        self.row_or_404(request, object_id)
        return super().delete_view(request, object_id, extra_context)

    def history_view(self, request, object_id, extra_context=None):
        self.row_or_404(request, object_id)
        return super().history_view(request, object_id, extra_context)


class ReadOnly:
    """For a ModelAdmin or an inline whose rows are made and changed elsewhere."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


class SuperusersOnly:
    """For a ModelAdmin that concerns the whole installation."""

    def may(self, request, permission, obj=None):
        return request.user.is_superuser


class ScopedAutocompleteFilter(AutocompleteSelectFilter):
    """Filter by a related row, chosen by typing; names only what its own list would show, whatever the address says."""

    def choices(self, changelist):
        model = self.field.remote_field.model
        related = self.model_admin.admin_site.get_model_admin(model)
        for choice in super().choices(changelist):
            choice["form"].fields[self.lookup_kwarg].queryset = related.get_queryset(self.request)
            yield choice


class UsernameFilter(TextFilter):
    """Filter by the log-in name of whoever `path` points to; typed, for a list would show people of other projects."""

    path: str

    def queryset(self, request, queryset):
        if not self.value():
            return queryset
        # The key is looked up first: joined with the users, a million rows would be read to find none of his.
        found = get_user_model().objects.filter(username=self.value()).first()
        return queryset.filter(**{self.path: found}) if found else queryset.none()


def page(request, template: str, *, title: str, **context: Any) -> TemplateResponse:
    """A page of our own, with the admin's sidebar and header around it."""
    request.current_app = admin.site.name
    context = {**admin.site.each_context(request), "title": title, "content_title": title, **context}
    return TemplateResponse(request, template, context)


def action_page(
    request, *, title: str, form, button: str, template: str = "hub/action.html", **context: Any
) -> TemplateResponse:
    """The page between an action and its doing: `form` asks what is missing, the same rows stay selected.

    It posts to the list it came from, filters and all, so that the action is called again with "apply" among the data.
    """
    kept = [(name, value) for name in ("action", "select_across") for value in request.POST.getlist(name)[:1]]
    kept += [(ACTION_CHECKBOX_NAME, value) for value in request.POST.getlist(ACTION_CHECKBOX_NAME)]
    return page(request, template, title=title, form=form, button=button, kept=kept, **context)


def sentence(fact: Fact) -> str:
    """What `fact` says, as a sentence."""
    return f"{fact.message[:1].upper()}{fact.message[1:].rstrip('.')}."


@cache
def state_badge(state: str, title: str) -> SafeString:
    """A state as a coloured badge, in a list and in a form alike (Unfold's own labels are for lists only)."""
    return mark_safe(render_to_string("unfold/helpers/label.html", {"type": COLOURS.get(state), "text": title}))


def badge(field: str, description: str | None = None):
    """A column that shows the choice in `field` as a coloured badge."""

    @display(description=description or field.capitalize(), ordering=field)
    def show(self, row):
        return state_badge(getattr(row, field), getattr(row, f"get_{field}_display")())

    return show


def json_field(field: str, description: str | None = None):
    """A read-only field that shows the JSON in `field` as people write it."""

    @display(description=description or field.replace("_", " ").capitalize())
    def show(self, row):
        return pretty_json(getattr(row, field))

    return show


def shortened(field: str, description: str | None = None, *, length: int = 90):
    """A column with the beginning of a long text."""

    @display(description=description or field.capitalize())
    def show(self, row):
        text = " ".join((getattr(row, field) or "").split())
        return text if len(text) <= length else f"{text[: length - 1]}…"

    return show


def pretty_json(value: Any):
    """`value` indented, in its own letters and order; a dash for nothing."""
    if value in (None, {}, []):
        return EMPTY
    return format_html('<pre class="hub-json">{}</pre>', json.dumps(value, ensure_ascii=False, indent=2))


def share_bars(shares: Mapping[str, float] | None):
    """Vote shares as one bar a row, the largest first."""
    if not shares:
        return EMPTY
    rows = sorted(shares.items(), key=lambda pair: -pair[1])
    bars = format_html_join(
        "",
        '<div class="hub-share"><span class="hub-share-name">{}</span>'
        '<span class="hub-bar"><i style="width:{}%"></i></span><span class="hub-share-value">{}%</span></div>',
        ((name, round(share * 100), round(share * 100)) for name, share in rows),
    )
    return format_html('<div class="hub-shares">{}</div>', bars)


def percent(value: float | None) -> str:
    return EMPTY if value is None else f"{value * 100:.0f}%"


def progress_bar(percent_done: int, *, live: str = ""):
    """A bar; `live`, the address of a job's state, keeps it moving while the page is open."""
    return format_html(
        '<span class="hub-progress"{}><span class="hub-bar"><i style="width:{}%"></i></span> '
        '<span class="hub-percent">{}%</span></span>',
        format_html(' data-poll="{}"', live) if live else "",
        percent_done,
        percent_done,
    )
