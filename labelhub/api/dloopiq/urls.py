"""The contract's paths."""

from django.urls import path

from . import views

exports = [path("exports", views.Exports.as_view())]
tasks = [path("tasks", views.Tasks.as_view()), path("tasks/<slug:uid>", views.OneTask.as_view())]
urlpatterns = [*exports, *tasks]
