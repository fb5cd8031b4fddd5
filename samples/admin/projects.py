"""Projects, with their labels and members on the same page, and the ways into the work."""

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminColorInputWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from labelhub.accounts.models import User
from labelhub.admin import ReadOnly, ScopedAutocompleteFilter
from labelhub.facts import Fact
from samples import suggesting, task_types
from samples.agreement import project_alpha
from samples.labels import delete_label, move_label, rename_label
from samples.models import Label, Membership, Project, Sample, StatusCount, Task
from samples.projects import add_labels, checked_label, create_project

from .scoped import ScopedAdmin, ScopedInline


class LabelForm(forms.ModelForm):
    place = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Label
        fields = ["name", "colour"]
        widgets = {"colour": UnfoldAdminColorInputWidget}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["place"].initial = self.instance.position

    def clean(self):
        """A label in use stays (and keeps its name: the model sees to that)."""
        cleaned = super().clean()
        leaves = cleaned.get("DELETE")
        if self.instance.pk and leaves and self.instance.is_in_use:
            cleaned["DELETE"] = False  # else Django goes and lists every row that stands in the way
            raise forms.ValidationError(f"“{self.initial['name']}” is in use: it cannot be removed.")
        return cleaned


class LabelFormSet(forms.BaseInlineFormSet):
    def clean(self):
        """A label in use keeps its place too: verdicts and files carry its index."""
        super().clean()
        if not all(form.is_valid() for form in self.initial_forms):
            return
        moved = (label for place, label in enumerate(self.ordered()) if label.position != place)
        if stuck := next((label for label in moved if label.is_in_use), None):
            raise forms.ValidationError(
                f"“{stuck}” is in use, and its place in the list stands in verdicts and files: it cannot move. "
                "New labels go to the end."
            )

    def ordered(self) -> list[Label]:
        """The labels that stay, as they were dragged."""
        staying = [form for form in self.initial_forms if form not in self.deleted_forms]
        return [form.instance for form in sorted(staying, key=lambda form: form.cleaned_data.get("place") or 0)]


class LabelInline(ScopedInline):
    model = Label
    form = LabelForm
    formset = LabelFormSet
    fields = ["name", "colour", "place"]
    ordering_field = "place"
    hide_ordering_field = True
    hide_title = True

    def has_add_permission(self, request, obj=None):
        return False  # many at once, in the project's own form


class MemberForm(forms.ModelForm):
    """Found by log-in name: a list to choose from would show who else works here."""

    user = forms.ModelChoiceField(
        User.objects.filter(is_active=True),
        to_field_name="username",
        widget=UnfoldAdminTextInputWidget,
        label="Log-in name",
        error_messages={"invalid_choice": "There is no such user."},
    )

    class Meta:
        model = Membership
        fields = ["user", "role"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["user"] = self.instance.user.username
            self.fields["user"].disabled = True


class MemberInline(ScopedInline):
    model = Membership
    form = MemberForm
    fields = ["user", "role"]
    hide_title = True
    verbose_name_plural = "members"

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("user")


class ProjectForm(forms.ModelForm):
    new_labels = forms.CharField(
        required=False,
        label="Labels",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="One a line, in their order. Sentiment and binary-choice projects get the usual two if it is empty.",
    )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.instance.pk and "new_labels" in self.fields:
            self.fields["new_labels"].label = "Add labels"
            self.fields["new_labels"].help_text = "One a line; they are added at the end of the list."

    def clean_new_labels(self):
        names = [name.strip() for name in self.cleaned_data["new_labels"].splitlines() if name.strip()]
        try:
            for name in names:
                checked_label(Label(name=name, position=0))
        except Fact as fact:
            raise forms.ValidationError(fact.message) from fact
        return names

    def clean(self):
        cleaned = super().clean()
        task_type = cleaned.get("task_type") or self.instance.task_type
        if cleaned.get("new_labels") and task_type and not task_types.get(task_type).has_labels:
            self.add_error("new_labels", "Projects of this task type have no labels.")
        return cleaned


def count_of(counts):
    """A subquery that adds up the `counts` of the project in the outer query."""
    own = counts.filter(project=OuterRef("pk")).order_by().values("project").annotate(n=Sum("number")).values("n")
    return Coalesce(Subquery(own), 0)


@admin.register(Project)
class ProjectAdmin(ScopedAdmin):
    form = ProjectForm
    list_display = ["title_or_name", "name", "task_type", "locale", "open_tasks", "waiting_for_review", "created_at"]
    list_filter = [("task_type", ChoicesDropdownFilter)]
    search_fields = ["name", "title", "=uid"]
    project_lookup = "pk"
    inlines = [LabelInline, MemberInline]
    actions_detail = ["annotate", "review", "import_file"]
    change_form_outer_before_template = "hub/project_summary.html"
    readonly_fields = ["filled_in_by", "uid", "created_by", "created_at"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "name", "title", "task_type", "locale", "new_labels", "description", "guidelines",
                ]
            },
        ),
        (
            "How answers become a verdict",
            {"fields": [("validations_needed", "consensus_rule", "consensus_threshold")]},
        ),
        ("What annotators are given", {"fields": [("task_order", "random_share"), "shows_suggestions", "filled_in_by"]}),
        ("Exports", {"fields": ["prompts"]}),
        ("Record", {"fields": [("uid", "created_by", "created_at")]}),
    ]  # fmt: skip

    def get_queryset(self, request):
        counts = StatusCount.objects
        rows = super().get_queryset(request)
        return rows.annotate(open_count=count_of(counts.open_tasks()), pending_count=count_of(counts.pending_samples()))

    def get_fieldsets(self, request, obj=None):
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None:
            return fieldsets[:-1]
        if not self.has_change_permission(request, obj):
            main = {"fields": [name for name in fieldsets[0][1]["fields"] if name != "new_labels"]}
            return [(None, main), *fieldsets[1:]]
        return fieldsets

    def get_readonly_fields(self, request, obj=None):
        """The type of a project's answers cannot change under them, nor can the name that paths and commands use."""
        return [*self.readonly_fields, "name", "task_type"] if obj else self.readonly_fields

    def get_inlines(self, request, obj):
        return self.inlines if obj else []

    def has_delete_permission(self, request, obj=None):
        """An empty project only; asking first keeps Django from listing all that stands in the way."""
        held = obj and (obj.tasks.exists() or obj.sources.exists() or obj.datasets.exists())
        return super().has_delete_permission(request, obj) and not held

    def has_annotate_permission(self, request, obj=None):
        return self._may_work(request, "samples.annotate_task", obj)

    def has_review_permission(self, request, obj=None):
        return self._may_work(request, "samples.review_sample", obj)

    def has_import_permission(self, request, obj=None):
        return self._may_work(request, "samples.import_task", obj)

    def _may_work(self, request, permission, obj):
        project = self.get_object(request, str(obj)) if isinstance(obj, str | int) else obj
        return self.may(request, permission, project)

    def save_model(self, request, obj, form, change):
        labels = form.cleaned_data.get("new_labels", [])
        if change:
            super().save_model(request, obj, form, change)
            add_labels(obj, labels)
            return
        given = {name: value for name, value in form.cleaned_data.items() if name not in ("name", "task_type")}
        given.pop("new_labels", None)
        labels = labels or obj.kind.default_labels.get(obj.locale.split("-")[0], ())
        made = create_project(obj.name, task_type=obj.task_type, labels=labels, by=request.user, **given)
        obj.pk = made.pk
        obj.refresh_from_db()

    def save_formset(self, request, form, formset, change):
        if formset.model is not Label:
            super().save_formset(request, form, formset, change)
            return
        formset.save(commit=False)
        for label in formset.deleted_objects:
            delete_label(label, by=request.user)
        for label, changed in formset.changed_objects:
            if "name" in changed:
                rename_label(label, name=label.name, by=request.user)
            label.save(update_fields=["colour"])
        for place, label in enumerate(formset.ordered()):
            label.refresh_from_db(fields=["position"])
            if label.position != place:
                move_label(label, to=place, by=request.user)

    def response_add(self, request, obj, post_url_continue=None):
        """A new project is empty: the next step is on its own page."""
        self.message_user(request, f"The project “{obj}” is there. Import some items to begin.")
        return redirect("admin:samples_project_change", obj.pk)

    def change_view(self, request, object_id, form_url="", extra_context=None):
        project = self.row_or_404(request, object_id)
        summary = {
            "task_counts": counted_by_status(StatusCount.objects.tasks().filter(project=project), Task.Status),
            "sample_counts": counted_by_status(StatusCount.objects.samples().filter(project=project), Sample.Status),
            "agreement_asked": "agreement" in request.GET,
        }
        if summary["agreement_asked"]:
            summary["agreement"] = project_alpha(project)
        return super().change_view(request, object_id, form_url, {**summary, **(extra_context or {})})

    @display(description="Project", ordering="title")
    def title_or_name(self, project):
        return str(project)

    @display(description="Forms filled in by")
    def filled_in_by(self, project):
        return suggesting.told(project)

    @display(description="Open tasks", ordering="open_count")
    def open_tasks(self, project):
        return project.open_count

    @display(description="Waiting for review", ordering="pending_count")
    def waiting_for_review(self, project):
        return project.pending_count

    @action(description="Annotate", permissions=["annotate"], icon="edit_note", variant=ActionVariant.PRIMARY)
    def annotate(self, request, object_id):
        return redirect("annotate", self.row_or_404(request, object_id).name)

    @action(description="Review", permissions=["review"], icon="rate_review")
    def review(self, request, object_id):
        return redirect("review", self.row_or_404(request, object_id).name)

    @action(description="Import…", permissions=["import"], icon="upload_file", url_path="import")
    def import_file(self, request, object_id):
        return redirect("import_tasks", self.row_or_404(request, object_id).name)


def counted_by_status(counts, statuses) -> list[tuple[str, str, int]]:
    """(status, its title, how many), for every status, also those nobody is in."""
    numbers = counts.by_status()
    return [(status.value, status.label, numbers.get(status.value, 0)) for status in statuses]


@admin.register(Label)
class LabelAdmin(ReadOnly, ScopedAdmin):
    """To look labels up; they are made and ordered on their project's page."""

    list_display = ["name", "position", "project", "colour"]
    list_select_related = ["project"]
    list_filter = [("project", ScopedAutocompleteFilter)]
    search_fields = ["name"]


@admin.register(Membership)
class MembershipAdmin(ReadOnly, ScopedAdmin):
    """To see who works where; members are added and removed on their project's page."""

    list_display = ["user", "project", "role", "created_at"]
    list_select_related = ["user", "project"]
    list_filter = [("project", ScopedAutocompleteFilter), ("role", ChoicesDropdownFilter)]
    search_fields = ["user__username", "project__name", "project__title"]
