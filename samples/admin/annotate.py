"""The page where annotators work: one item after another, by keyboard, with what they need beside it."""

from django.contrib import messages
from django.http import Http404
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from labelhub.accounts.roles import Power
from labelhub.admin import page
from labelhub.facts import Fact
from labelhub.long_lists import MoreThan, counted
from samples import annotating, assigning, suggesting
from samples.models import Annotation, Project, StatusCount

from .answers import FEW, answer_in, choices_of, colours_of
from .projects import count_of
from .scoped import project_or_404

LONGEST_LEAD_TIME_MS = 2_000_000_000  # what the column holds; a tab left open over a month says nothing anyway


def choose(request):
    """The projects in which the visitor may answer tasks; straight on where there is only one."""
    projects = Project.objects.where(request.user, Power.ANNOTATE).annotate(
        left=count_of(StatusCount.objects.open_tasks())
    )
    return choose_project(request, projects, title="Annotate", target="annotate", left="open tasks")


def choose_project(request, projects, *, title, target, left):
    """A page that asks which project; skipped where there is nothing to ask. `projects` carry how much is `left`."""
    projects = list(projects[:200])
    if len(projects) == 1:
        return redirect(target, projects[0].name)
    for project in projects:
        project.target = reverse(target, args=[project.name])
    return page(request, "hub/choose_project.html", title=title, projects=projects, left=left)


def annotate(request, name):
    """Show the next task of the project, or the one in ?task=; take the answer to it."""
    project = project_or_404(request, name, Power.ANNOTATE)
    skipped = request.session.get("skipped", {}).get(project.uid, [])
    if request.method == "POST":
        return take_answer(request, project, skipped)
    if "again" in request.GET:
        return keep_skipped(request, project, [])
    task = asked_for(request, project) or next_for(request, project, skipped)
    colours = colours_of(project)
    mine = Annotation.objects.filter(annotator=request.user, task__project=project)
    context = {
        "project": project,
        "task": task,
        **progress_of(mine, project.tasks.open()),
        "skipped": len(skipped),
        "previous": mine.order_by("-updated_at").values_list("task", flat=True).first(),
        "few": FEW,
    }
    if task:
        own = mine.filter(task=task).first()
        suggestion = None if own else suggesting.suggestion_for(task)
        context["suggestion"] = suggestion
        context["given"] = own.answer if own else suggesting.filled_in(task, suggestion)
        context["choices"] = choices_of(task, colours, context["given"], suggestion)
    return page(request, "hub/annotate.html", title=f"Annotate – {project}", **context)


def progress_of(mine, open_tasks):
    """What the visitor has `done`, what is `left` for him, and how many `percent` that is.

    Of long lists it is only said that they are: where more tasks are open than are counted, nobody knows a percentage.
    """
    done, left = counted(mine), counted(open_tasks)
    if isinstance(left, MoreThan):
        return {"done": done, "left": left, "is_long": True, "percent": None}
    left -= mine.filter(task__in=open_tasks).count()
    total = None if isinstance(done, MoreThan) else done + left
    return {"done": done, "left": left, "total": total, "percent": 100 * done // (done + left) if done + left else 0}


def asked_for(request, project):
    """The task in ?task=, which must be of this project; None where the address names none."""
    pk = request.GET.get("task")
    if not pk:
        return None
    task = project.tasks.filter(pk=pk).first() if pk.isdecimal() else None
    if task is None:
        raise Http404
    return task


def next_for(request, project, skipped):
    """The task that is the visitor's for the next minutes; None where none is left for him."""
    assignment = assigning.take_next(project, user=request.user, skipping=skipped)
    return assignment and assignment.task


def take_answer(request, project, skipped):
    pk = request.POST.get("task", "")
    task = project.tasks.filter(pk=pk).first() if pk.isdecimal() else None
    if task is None:
        raise Http404
    if "skip" in request.POST:
        assigning.release(task, user=request.user)
        return keep_skipped(request, project, [*skipped, task.pk])
    lead_time = request.POST.get("lead_time_ms", "")
    filled_in_by = request.POST.get("prefilled_by", "")
    try:
        annotating.annotate(
            task,
            by=request.user,
            answer=answer_in(request.POST, task, colours_of(project)),
            lead_time_ms=min(int(lead_time), LONGEST_LEAD_TIME_MS) if lead_time.isdecimal() else None,
            prefilled_by=filled_in_by if filled_in_by == project.prefill_model else None,
        )
    except Fact as fact:
        messages.error(request, f"Not saved: {fact.message}.")
        return redirect(f"{reverse('annotate', args=[project.name])}?{urlencode({'task': task.pk})}")
    return redirect("annotate", project.name)


def keep_skipped(request, project, skipped):
    """Remember what the visitor passed over, for as long as he is logged in."""
    request.session["skipped"] = {**request.session.get("skipped", {}), project.uid: skipped[-500:]}
    return redirect("annotate", project.name)
