"""The demo: the main job from end to end on bundled reviews in English, French and Chinese, through the real functions.

Run twice, it finds what is there and makes nothing anew.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from django.core.files.storage import FileSystemStorage

from exports import batching, destinations, finetuning
from exports.management.commands.finetune import score_lines
from exports.models import Batch, FineTune
from exports.predicting import predict
from labelhub.accounts.models import User
from labelhub.accounts.roles import Role
from labelhub.facts import Fact
from labelhub.jobs.models import Job
from labelhub.jobs.worker import bring_to_end
from samples import review
from samples.agreement import project_alpha
from samples.annotating import annotate
from samples.intake import import_tasks
from samples.models import Annotation, Membership, Prediction, Project, Sample, Task
from samples.projects import create_project
from samples.settling import decide

DEMO_USER = "demo"
DEMO_PASSWORD = "demo-labelhub"
PROJECT = "demo-reviews"
LABELS = ("Positive", "Negative", "Mixed")
ANNOTATORS = ("amelie", "brandon", "chen")
SPLIT, SEED = "0.8/0.1/0.1", "demo"
FORMATS = ("jsonl", "openai", "huggingface")  # the first claims the samples, the others carry them again

DATA = Path(__file__).resolve().parent / "demo_data"
REVIEWS = ("reviews_en.csv", "reviews_fr.csv", "reviews_zh.jsonl")
UNSEEN = "unseen.jsonl"

Say = Callable[[str], object]


class NotForDemos(Fact):
    """The database holds other people's work."""

    code = "not_for_demos"


def run(say: Say, *, force: bool = False) -> None:
    """Play the whole story, telling each step with its counts; NotForDemos where there are other projects."""
    others = Project.objects.exclude(name=PROJECT).count()
    if others and not force:
        raise NotForDemos(
            f"this database holds {others} other project{'s' * (others > 1)}, and the demo makes a superuser whose "
            "password everybody knows: use another DATABASE_URL, or --force"
        )
    demo, annotators = people(say)
    project = the_project(say, demo, annotators)
    import_reviews(say, project, by=demo)
    answer(say, project, annotators)
    decide_the_disputed(say, project, by=demo)
    approve(say, project, by=demo)
    batches = [export(say, project, format, by=demo) for format in FORMATS]
    finetune = train(say, batches[0], by=demo)
    guess(say, project, finetune, by=demo)
    say("")
    say(f"All of it can be seen in the admin: `make serve`, then log in as {DEMO_USER}, password {DEMO_PASSWORD}")


# The steps ------------------------------------------------------------------------------------------------------------


def people(say: Say) -> tuple[User, dict[str, User]]:
    """The demo's superuser, who reviews, and its three annotators, who have no password and cannot log in."""
    demo = User.objects.filter(username=DEMO_USER).first()
    if demo is None:
        demo = User.objects.create_superuser(DEMO_USER, password=DEMO_PASSWORD)
    annotators = {}
    for name in ANNOTATORS:
        annotators[name], is_new = User.objects.get_or_create(username=name, defaults={"is_staff": True})
        if is_new:
            annotators[name].set_unusable_password()
            annotators[name].save(update_fields=["password"])
    say(f"people      {DEMO_USER} reviews; {', '.join(ANNOTATORS)} annotate")
    return demo, annotators


def the_project(say: Say, demo: User, annotators: Mapping[str, User]) -> Project:
    project = Project.objects.filter(name=PROJECT).first()
    found = "there already" if project else "created"
    if project is None:
        project = create_project(
            PROJECT,
            task_type="SENTIMENT_ANALYSIS",
            labels=LABELS,
            by=demo,
            title="Demo: reviews in three languages",
            guidelines="What does the writer feel about what he got? Mixed: both, or neither.",
            validations_needed=len(ANNOTATORS),
        )
    for user in annotators.values():
        Membership.objects.get_or_create(project=project, user=user, defaults={"role": Role.ANNOTATOR})
    say(f"project     {project.name} ({found}): {', '.join(LABELS)}; {project.validations_needed} answers a task")
    return project


def import_reviews(say: Say, project: Project, *, by: User) -> None:
    for name in REVIEWS:
        with (DATA / name).open("rb") as file:
            done = import_tasks(project, file, name=name, source=Path(name).stem, by=by)
        say(f"import      {name}: {done.created} tasks created, {done.unchanged} there already")


def answer(say: Say, project: Project, annotators: Mapping[str, User]) -> None:
    """Every annotator answers every task that still takes answers; the third answer settles it."""
    tasks = {task.external_id: task for task in Task.objects.filter(project=project).select_related("project")}
    given = set(Annotation.objects.filter(task__project=project).values_list("task", "annotator__username"))
    new = 0
    for row in _rows("answers.csv"):
        task = tasks[row["id"]]
        for name, user in annotators.items():
            if (task.pk, name) not in given and not task.is_settled:
                annotate(task, by=user, answer={"label": row[name]})
                new += 1
    say(f"annotate    {new} answers given, {len(given)} there already")
    reviews = Task.objects.filter(project=project)
    alpha = project_alpha(project)
    say(
        f"consensus   {reviews.completed().count()} tasks settled, {reviews.failed().count()} without a majority; "
        f"Krippendorff’s alpha {'unknown' if alpha is None else f'{alpha:.3f}'}"
    )


def decide_the_disputed(say: Say, project: Project, *, by: User) -> None:
    """The reviewer gives the verdict where the annotators came to none."""
    failed = {task.external_id: task for task in Task.objects.failed().filter(project=project)}
    decided = 0
    for row in _rows("decisions.csv"):
        if task := failed.get(row["id"]):
            decide(task, by=by, answer={"label": row["answer"]}, reason=row["reason"])
            decided += 1
    say(f"decide      {decided} tasks without a majority decided by {by}")


def approve(say: Say, project: Project, *, by: User) -> None:
    """Mixed reviews are turned down, the others approved."""
    pending = Sample.objects.filter(project=project).pending()
    rejected = review.reject_all(pending.filter(label_name="Mixed"), by=by, reason="says both, or neither: no example")
    approved = review.approve_all(pending, by=by)
    samples = Sample.objects.filter(project=project)
    say(
        f"review      {approved.done} samples approved and {rejected.done} rejected by {by} "
        f"({samples.approved().count()} and {samples.filter(status=Sample.Status.REJECTED).count()} in all)"
    )


def export(say: Say, project: Project, format: str, *, by: User) -> Batch:
    """A batch of all approved samples, split, stratified and written; the one of an earlier run, if there is one."""
    batch = Batch.objects.filter(project=project, format=format, created_by=by).exclude(state=Batch.State.CANCELLED)
    found = batch.order_by("pk").first()
    if found is None:
        found = batching.gather(
            Sample.objects.all(),
            by=by,
            project=project,
            format=format,
            ratios=SPLIT,
            seed=SEED,
            stratify=True,
            allow_reexport=format != FORMATS[0],
        )
    elif found.state == Batch.State.FAILED:
        found = batching.retry(found, by=by)
    if not found.is_ready:
        _ended(found.job)
        found.refresh_from_db()
    parts = ", ".join(f"{part['rows']} {part['part']}" for part in found.manifest["parts"])
    say(f"export      {format}: {found.sample_count} samples as {parts}; {found.byte_count:,} bytes")
    say(f"            {_place(found)}")
    say(f"            sha256 {found.sha256}")
    return found


def train(say: Say, batch: Batch, *, by: User) -> FineTune:
    """The local fine-tune of `batch`; the one of an earlier run, if there is one."""
    finetune = batch.finetunes.filter(status=FineTune.Status.SUCCESS).first()
    if finetune is None:
        under_way = batch.finetunes.running().first()
        finetune = under_way or finetuning.submit(batch, by=by)
        _ended(finetune.job)
        finetuning.refresh(finetune)
    version = finetune.model_version
    say(f"fine-tune   {version} in {version.artefact}")
    for line in score_lines(finetune.metrics):
        say(f"            {line}")
    return finetune


def guess(say: Say, project: Project, finetune: FineTune, *, by: User) -> None:
    """The new model reads reviews that nobody has answered."""
    with (DATA / UNSEEN).open("rb") as file:
        done = import_tasks(project, file, name=UNSEEN, source="unseen", by=by)
    version = finetune.model_version
    tasks = Task.objects.open().filter(project=project, source__name="unseen")
    guessed = predict(version, tasks)
    say(
        f"predict     {done.created} unseen texts imported, {done.unchanged} there already; {guessed} guessed by {version}"
    )
    for prediction in Prediction.objects.filter(model=str(version), task__in=tasks).select_related("task", "label"):
        say(f"            {prediction.label.name:8} {prediction.probability:.2f}  {prediction.task.content}")


# What the steps need --------------------------------------------------------------------------------------------------


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _ended(job: Job | None) -> None:
    """Have `job` done by the real queue, in this process where no worker is faster."""
    if job is None:
        raise JobFailed("the job of an earlier run is gone: delete what it was to make, and begin anew")
    if bring_to_end(job).state != Job.State.DONE:
        raise JobFailed(f"{job} {job.get_state_display().lower()}: {job.error}")


class JobFailed(Fact):
    code = "job_failed"


def _place(batch: Batch) -> str:
    """Where the batch's file is: a path on this disk, or the destination and the path in it."""
    storage = destinations.storage_of(batch.destination)
    return storage.path(batch.path) if isinstance(storage, FileSystemStorage) else f"{batch.destination}:{batch.path}"
