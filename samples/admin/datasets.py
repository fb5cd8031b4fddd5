"""Sources and datasets: where a project's tasks come from, and named choices of them."""

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.forms import ModelForm
from unfold.decorators import display

from labelhub.admin import ScopedAutocompleteFilter
from samples.models import Dataset, Source

from .scoped import ScopedAdmin


@admin.register(Source)
class SourceAdmin(ScopedAdmin):
    list_display = ["name", "title", "project", "created_at"]
    list_select_related = ["project"]
    list_filter = [("project", ScopedAutocompleteFilter)]
    search_fields = ["name", "title", "=uid"]
    autocomplete_fields = ["project"]
    fields = ["project", "name", "title", "description", "uid", "created_at"]
    readonly_fields = ["uid", "created_at"]

    def has_delete_permission(self, request, obj=None):
        """One that has tasks stays; asking first keeps Django from listing them all."""
        return super().has_delete_permission(request, obj) and not (obj and obj.tasks.exists())


class DatasetForm(ModelForm):
    def clean(self):
        cleaned = super().clean()
        project = self.instance.project if self.instance.pk else cleaned.get("project")
        strangers = [
            source.name for source in cleaned.get("sources", ()) if project and source.project_id != project.pk
        ]
        if strangers:
            raise ValidationError({"sources": f"not of the project “{project}”: {', '.join(strangers)}"})
        return cleaned


@admin.register(Dataset)
class DatasetAdmin(ScopedAdmin):
    form = DatasetForm
    list_display = ["name", "title", "project", "model_family", "source_count", "created_at"]
    list_select_related = ["project"]
    list_filter = [("project", ScopedAutocompleteFilter)]
    search_fields = ["name", "title", "=uid"]
    autocomplete_fields = ["project", "sources"]
    ordering = ["project", "name"]
    fields = [
        "project", "name", "title", "description", "sources", "model_family", "has_sentiment", "uid", "created_at",
    ]  # fmt: skip
    readonly_fields = ["uid", "created_at"]

    def get_queryset(self, request):
        return super().get_queryset(request).annotate(sources_held=Count("sources"))

    @display(description="Sources", ordering="sources_held")
    def source_count(self, dataset):
        return dataset.sources_held
