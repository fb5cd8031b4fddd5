"""Plain functions that make rows with friendly defaults: `make_sample(label="Positif")`."""

from itertools import count

from django.utils import timezone

from exports.models import Batch
from labelhub.accounts.models import User
from labelhub.accounts.roles import Role
from samples.models import Annotation, Label, Membership, Project, Sample, Source, Task

_numbers = count(1)


def make_user(name=None, **fields):
    return User.objects.create_user(username=name or f"user{next(_numbers)}", password="secret", **fields)


def make_staff(name=None, **fields):
    return make_user(name, is_staff=True, **fields)


def make_superuser(name=None, **fields):
    return make_user(name, is_staff=True, is_superuser=True, **fields)


def make_project(name=None, *, task_type="SENTIMENT_ANALYSIS", labels=("Positif", "Négatif"), locale="fr", **fields):
    project = Project.objects.create(
        name=name or f"project-{next(_numbers)}", task_type=task_type, locale=locale, **fields
    )
    for position, label in enumerate(labels):
        Label.objects.create(project=project, name=label, position=position)
    return project


def make_member(project, role=Role.ANNOTATOR, *, user=None, **fields):
    user = user or make_staff(**fields)
    Membership.objects.create(project=project, user=user, role=role)
    return user


def make_source(project, name="inbox", **fields):
    return Source.objects.get_or_create(project=project, name=name, defaults=fields)[0]


def make_task(project=None, content="Ce produit est fantastique !", *, source=None, **fields):
    project = project or make_project()
    fields.setdefault("external_id", f"item-{next(_numbers)}")
    fields.setdefault("type", project.task_type)
    fields.setdefault("locale", project.locale)
    return Task.objects.create(project=project, source=source or make_source(project), content=content, **fields)


def make_settled_task(project=None, content="Ce produit est fantastique !", *, label="Positif", **fields):
    """A task with a verdict, as consensus would leave it."""
    project = project or make_project()
    chosen = project.labels.get(name=label)
    return make_task(
        project,
        content,
        status=Task.Status.COMPLETED,
        label=chosen,
        label_name=chosen.name,
        label_index=chosen.position,
        answer={"label": chosen.name},
        vote_shares={chosen.name: 1.0},
        confidence=fields.pop("confidence", 1.0),
        validated_at=fields.pop("validated_at", timezone.now()),
        **fields,
    )


def make_annotation(task, annotator=None, *, label="Positif"):
    return Annotation.objects.create(
        task=task,
        annotator=annotator or make_user(),
        answer={"label": label},
        label=task.project.labels.get(name=label),
    )


def make_sample(project=None, content="Ce produit est fantastique !", *, label="Positif", status="APPROVED", **fields):
    """A sample of its own settled task; approved, if nothing else is said."""
    task = make_settled_task(project, content, label=label, **fields)
    reviewed = {} if status == "PENDING" else {"reviewed_at": timezone.now(), "reviewed_by": make_user()}
    return Sample.objects.create(
        task=task,
        project=task.project,
        uid=task.uid,
        type=task.type,
        content=task.content,
        locale=task.locale,
        label=task.label,
        label_name=task.label_name,
        label_index=task.label_index,
        answer=task.answer,
        vote_shares=task.vote_shares,
        confidence=task.confidence,
        validated_at=task.validated_at,
        status=status,
        **reviewed,
    )


def make_samples(count, project=None, *, labels=("Positif", "Négatif"), status="APPROVED"):
    """Many approved samples at once, their labels taken in turn; returns their project."""
    project = project or make_project(labels=labels)
    source, now = make_source(project), timezone.now()
    chosen = [project.labels.get(name=label) for label in labels]

    def verdict(number):
        label = chosen[number % len(chosen)]
        return {
            "project": project,
            "type": project.task_type,
            "content": f"Texte numéro {number} : 这个产品, c’est « bien » ?",
            "locale": project.locale,
            "label": label,
            "label_name": label.name,
            "label_index": label.position,
            "answer": {"label": label.name},
            "confidence": 0.6667,
            "validated_at": now,
        }

    tasks = Task.objects.bulk_create(
        [
            Task(source=source, external_id=f"many-{next(_numbers)}", status=Task.Status.COMPLETED, **verdict(number))
            for number in range(count)
        ],
        batch_size=2000,
    )
    Sample.objects.bulk_create(
        [
            Sample(task=task, uid=task.uid, status=status, reviewed_at=now, **verdict(number))
            for number, task in enumerate(tasks)
        ],
        batch_size=2000,
    )
    return project


def make_batch(project=None, *, format="jsonl", **fields):
    """A batch as a row only, without samples, job or file."""
    return Batch.objects.create(project=project, format=format, destination="local", **fields)
