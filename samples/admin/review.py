"""The review queue of a project: disagreements to decide first, then verdicts to approve, the least certain first."""

from django.contrib import messages
from django.db.models import Prefetch
from django.http import Http404
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from labelhub.accounts.roles import Power
from labelhub.admin import page, percent, share_bars
from labelhub.facts import Fact
from labelhub.long_lists import FirstPages, counted
from samples import review, settling
from samples.models import Annotation, Project, Sample, StatusCount

from .annotate import choose_project
from .answers import FEW, answer_in, choices_of, colours_of
from .projects import count_of
from .scoped import project_or_404

CARDS = 10
CAUSES = {
    "not_allowed": "not yours to review",
    "wrong_state": "in another state",
    "own_work": "answered by you alone",
    "not_settled": "without a verdict by now",
}


def choose(request):
    """The projects in which the visitor may review; straight on where there is only one."""
    projects = Project.objects.where(request.user, Power.REVIEW).annotate(
        left=count_of(StatusCount.objects.pending_samples())
    )
    return choose_project(request, projects, title="Review", target="review", left="waiting")


def queue(request, name):
    """A page of cards, each with what people said and what can be done about it."""
    project = project_or_404(request, name, Power.REVIEW)
    if request.method == "POST":
        return act(request, project)
    disagreements = project.tasks.failed().order_by("pk")
    pending = project.samples.pending().order_by("confidence", "pk")
    failed_count, pending_count = counted(disagreements), counted(pending)
    shown = request.GET.get("show") or ("disagreements" if failed_count or not pending_count else "pending")
    rows = disagreements if shown == "disagreements" else pending
    sheet = FirstPages(with_votes(rows, shown), CARDS).get_page(request.GET.get("page"))
    colours = colours_of(project)
    here = request.get_full_path()
    cards = [card_of(row, colours, back=here) for row in sheet]
    return page(
        request,
        "hub/review.html",
        title=f"Review – {project}",
        project=project,
        shown=shown,
        failed_count=failed_count,
        pending_count=pending_count,
        cards=cards,
        sheet=sheet,
        here=here,
    )


def with_votes(rows, shown):
    votes = Annotation.objects.select_related("annotator").order_by("pk")
    if shown == "disagreements":
        return rows.prefetch_related(Prefetch("annotations", votes))
    return rows.select_related("task").prefetch_related(Prefetch("task__annotations", votes))


def card_of(row, colours, *, back):
    """What a card shows of a task without a verdict, or of a sample."""
    sample = row if isinstance(row, Sample) else None
    task = row.task if sample else row
    said = sample or task
    return {
        "sample": sample,
        "task": task,
        "content": said.content,
        "verdict": said.label_name,
        "shares": share_bars(said.vote_shares),
        "confidence": percent(said.confidence),
        "votes": [(vote.annotator, task.kind.label_name(vote.answer)) for vote in task.annotations.all()],
        "choices": choices_of(task, colours, said.answer),
        "few": FEW,
        "text": (said.answer or {}).get("text", ""),
        "back": back,
    }


def act(request, project):
    """Do what the button on a card said."""
    done = request.POST.get("do", "")
    back = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        back = reverse("review", args=[project.name])
    try:
        if done == "decide":
            decide(request, row_in(project.tasks, request.POST.get("task")))
        elif done == "approve_page":
            approve_page(request, project)
        else:
            act_on_sample(request, row_in(project.samples.select_related("task"), request.POST.get("sample")), done)
    except Fact as fact:
        messages.error(request, f"Not done: {fact.message}.")
    return redirect(back)


def row_in(rows, pk):
    row = rows.filter(pk=pk).first() if (pk or "").isdecimal() else None
    if row is None:
        raise Http404
    return row


def decide(request, task):
    answer = answer_in(request.POST, task, colours_of(task.project))
    settling.decide(task, by=request.user, answer=answer, reason=request.POST.get("reason", ""))
    messages.success(request, f"Decided: {task.kind.label_name(answer)}.")


def approve_page(request, project):
    """Approve what was on the page, and nothing that came in since."""
    ids = [int(pk) for pk in request.POST.getlist("ids") if pk.isdecimal()]
    tell(request, "Approved", review.approve_all(project.samples.filter(pk__in=ids), by=request.user))


def act_on_sample(request, sample, done):
    reason = request.POST.get("reason", "").strip()
    if done == "approve":
        review.approve(sample, by=request.user)
        messages.success(request, "Approved.")
    elif done == "reject":
        review.reject(sample, by=request.user, reason=reason)
        messages.success(request, "Rejected.")
    elif done == "reopen":
        review.reopen(sample, by=request.user, reason=reason)
        messages.success(request, "Open again: it waits for review.")
    elif done == "correct":
        answer = answer_in(request.POST, sample.task, colours_of(sample.project))
        review.revise(sample, by=request.user, answer=answer, reason=reason)
        messages.success(request, f"Corrected to {sample.task.kind.label_name(answer)}; it waits for approval.")
    else:
        raise Http404


def tell(request, verb, reviewed):
    """One message for what a bulk step did and what it left alone, with the causes."""
    note = f"{verb}: {reviewed.done}."
    if reviewed.refused:
        causes = ", ".join(f"{count} {CAUSES[code]}" for code, count in reviewed.causes.items())
        note += f" Left as they were: {reviewed.refused} ({causes})."
    messages.add_message(request, messages.SUCCESS if reviewed.done else messages.WARNING, note)
