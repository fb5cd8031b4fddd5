"""The contract's path that is nobody else's; /api/v1/tasks is shared, and its door is labelhub/api/tasks_door.py."""

from django.urls import path

from . import views

urlpatterns = [path("exports", views.Exports.as_view())]
