"""The addresses of the admin's own pages, beside its lists and forms. All of them are behind the admin's log-in."""

from django.contrib import admin
from django.urls import path

from exports.admin.finetunes import start
from exports.admin.guessing import ask_about_test, find_errors, prefill
from exports.admin.selecting import export_project
from labelhub.roles_page import roles
from samples.admin import annotate, doubts, importing, review
from samples.admin.tasks import task_media


def at(route, view, name):
    return path(route, admin.site.admin_view(view), name=name)


urlpatterns = [
    at("annotate/", annotate.choose, "annotate_choose"),
    at("annotate/<str:name>/", annotate.annotate, "annotate"),
    at("review/", review.choose, "review_choose"),
    at("review/<str:name>/", review.queue, "review"),
    at("import/", importing.choose, "import_choose"),
    at("import/<str:name>/", importing.import_page, "import_tasks"),
    at("export/<str:name>/", export_project, "export_project"),
    at("finetune/<int:pk>/", start, "finetune"),
    at("roles/", roles, "roles"),
    at("prefill/<int:pk>/", prefill, "prefill"),
    at("ask-about-test/<int:pk>/<int:batch>/", ask_about_test, "ask_about_test"),
    at("label-errors/<str:name>/", find_errors, "find_errors"),
    at("doubt/<int:pk>/", doubts.look, "doubt"),
    at("media/task/<int:pk>/", task_media, "task_media"),
]
