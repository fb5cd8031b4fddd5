"""The contract's paths."""

from django.urls import path, register_converter
from django.urls.converters import IntConverter

from . import views


class RowNumber(IntConverter):
    """A number that a database can look up; a longer one is no batch."""

    regex = "[0-9]{1,18}"


register_converter(RowNumber, "row_number")

urlpatterns = [
    path("training/samples", views.Samples.as_view()),
    path("export/batch", views.NewBatch.as_view()),
    path("export/list", views.Batches.as_view()),
    path("export/<row_number:number>/finetune", views.StartFineTune.as_view()),
    path("export/<row_number:number>/status", views.FineTuneStatus.as_view()),
]
