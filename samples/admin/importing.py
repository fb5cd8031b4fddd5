"""The import pages: upload a file, look at its first rows and say which column is what, see what became of it."""

import secrets

from django import forms
from django.http import Http404
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from labelhub.accounts.models import User
from labelhub.accounts.roles import Power
from labelhub.admin import page, sentence
from labelhub.facts import Fact
from labelhub.jobs import queue
from labelhub.jobs.admin import state_url
from labelhub.jobs.models import Job
from samples.intake import KINDS, uploads
from samples.models import Project, StatusCount
from samples.models.datasets import name_rule

from .annotate import choose_project
from .projects import count_of
from .scoped import project_or_404

IN_REQUEST = 5 * 1024 * 1024  # a larger file is imported by a job
WIDEST_PREVIEW = 12

PARTS = {
    "content": "Content",
    "label": "Label",
    "id": "Id",
    "locale": "Locale",
    "options": "Options",
    "metadata": "Metadata",
    "occurred_at": "Timestamp",
}


class UploadForm(forms.Form):
    file = forms.FileField(
        label="File",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ",".join([*KINDS, ".gz"])}),
        help_text="CSV, TSV, JSONL, JSON or Parquet, in UTF-8; also compressed with gzip (.gz).",
    )


class ImportForm(forms.Form):
    """Which column is what, and what to do with labels and with rows that cannot be taken."""

    source = forms.CharField(
        initial="import",
        max_length=256,
        validators=[name_rule],
        widget=UnfoldAdminTextInputWidget,
        help_text="The channel the items belong to. The same file imported twice into one source changes nothing.",
    )
    labels_as = forms.ChoiceField(
        label="Labels in the file are",
        choices=[
            ("verdict", "Verdicts: each labelled item goes straight to review"),
            ("annotations", "One person's answers: they count as their votes"),
        ],
        initial="verdict",
        widget=UnfoldAdminRadioSelectWidget,
    )
    annotator = forms.CharField(
        label="Whose answers",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="A log-in name; needed only if the labels are one person's answers.",
    )
    on_error = forms.ChoiceField(
        label="A row that cannot be taken",
        choices=[
            ("stop", "stops the import, before anything is written where the file alone shows it"),
            ("skip", "is left out and reported"),
        ],
        initial="stop",
        widget=UnfoldAdminRadioSelectWidget,
    )

    def __init__(self, *args, project: Project, columns: list[str], **kwargs):
        super().__init__(*args, **kwargs)
        self.project = project
        choices = [("", "By its name"), *((name, name) for name in columns)]
        for part, title in PARTS.items():
            self.fields[f"column_{part}"] = forms.ChoiceField(
                label=title, choices=choices, required=False, widget=UnfoldAdminSelectWidget
            )

    @property
    def column_fields(self):
        return [self[f"column_{part}"] for part in PARTS]

    def clean(self):
        cleaned = super().clean()
        cleaned["person"] = None
        if cleaned.get("labels_as") == "annotations":
            people = User.objects.filter(projects=self.project, is_active=True)
            cleaned["person"] = people.filter(username=cleaned.get("annotator", "").strip()).first()
            if cleaned["person"] is None:
                self.add_error("annotator", "Name a member of this project.")
        return cleaned

    def columns(self) -> dict[str, str]:
        return {part: name for part in PARTS if (name := self.cleaned_data[f"column_{part}"])}


def choose(request):
    """The projects into which the visitor may import; straight on where there is only one."""
    projects = Project.objects.where(request.user, Power.IMPORT).annotate(left=count_of(StatusCount.objects.tasks()))
    return choose_project(request, projects, title="Import", target="import_tasks", left="tasks")


def import_page(request, name):
    """One address for the whole way: the upload, ?file= the choices, ?job= and ?done= the end."""
    project = project_or_404(request, name, Power.IMPORT)
    if "job" in request.GET:
        return job_page(request, project)
    if "done" in request.GET:
        result = request.session.get("import_results", {}).get(request.GET["done"])
        return result_page(request, project, result) if result else redirect("import_tasks", project.name)
    if "file" in request.GET:
        return choices_page(request, project, token=request.GET["file"])
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        token = keep(request, form.cleaned_data["file"])
        return to(project, file=token)
    return page(request, "hub/import_upload.html", title=f"Import into {project}", project=project, form=form)


def to(project, **params):
    return redirect(f"{reverse('import_tasks', args=[project.name])}?{urlencode(params)}")


def choices_page(request, project, *, token):
    """The first rows, and the form that says what they mean."""
    upload = request.session.get("uploads", {}).get(token)
    if upload is None or not uploads.is_kept(upload["path"]):
        raise Http404
    try:
        columns, rows = uploads.first_rows(**upload)
    except Fact as fact:
        form = UploadForm()
        form.errors["file"] = form.error_class([sentence(fact)])
        return page(request, "hub/import_upload.html", title=f"Import into {project}", project=project, form=form)
    form = ImportForm(request.POST or None, project=project, columns=columns)
    if request.method == "POST" and form.is_valid():
        asked = {
            "columns": form.columns(),
            "source": form.cleaned_data["source"],
            "labels_as": form.cleaned_data["labels_as"],
            "annotator": form.cleaned_data["person"] and form.cleaned_data["person"].pk,
            "on_error": form.cleaned_data["on_error"],
        }
        if uploads.size(upload["path"]) > IN_REQUEST:
            job = queue.submit("samples.import_file", {"project": project.pk, **upload, **asked}, by=request.user)
            return to(project, job=job.pk)
        try:
            result = uploads.import_kept(project.pk, **upload, **asked, by=request.user)
        except Fact as fact:
            nothing = "" if fact.details.get("taken") else "Nothing was imported. "
            form.add_error(None, f"{nothing}{sentence(fact)}")
        else:
            uploads.forget(upload["path"])
            request.session["import_results"] = {token: result}
            return to(project, done=token)
    return page(
        request,
        "hub/import_choices.html",
        title=f"Import into {project}",
        project=project,
        form=form,
        file_name=upload["name"],
        columns=columns[:WIDEST_PREVIEW],
        more_columns=max(0, len(columns) - WIDEST_PREVIEW),
        rows=[[shown(row.get(name)) for name in columns[:WIDEST_PREVIEW]] for row in rows],
    )


def job_page(request, project):
    """How a large import is getting on, then what became of it."""
    jobs = Job.objects.visible_to(request.user).filter(kind="samples.import_file")
    pk = request.GET["job"]
    job = jobs.filter(pk=pk).first() if pk.isdecimal() else None
    if job is None or job.params.get("project") != project.pk:
        raise Http404
    if job.state == Job.State.DONE:
        return result_page(request, project, job.result)
    return page(
        request,
        "hub/import_job.html",
        title=f"Import into {project}",
        project=project,
        job=job,
        state_url="" if job.is_finished else state_url(job.pk),
    )


def result_page(request, project, result):
    return page(request, "hub/import_result.html", title=f"Imported into {project}", project=project, result=result)


def keep(request, file) -> str:
    """Put an upload aside; the token that stands for it in this visitor's session, with a few earlier ones."""
    token = secrets.token_urlsafe(12)
    earlier = dict(list(request.session.get("uploads", {}).items())[-4:])
    request.session["uploads"] = {**earlier, token: {"path": uploads.keep(file, token=token), "name": file.name}}
    return token


def shown(value) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
