"""`manage.py find_label_errors PROJECT`: which verdicts would a model not have given?"""

from django.core.management.base import BaseCommand, CommandError

from exports import doubting, predicting
from labelhub.facts import Fact
from labelhub.jobs.models import Job
from labelhub.jobs.worker import bring_to_end
from samples.models import Doubt, Project


class Command(BaseCommand):
    help = "Judge the settled tasks of a project by models that have not learnt from them, and list what they doubt."

    def add_arguments(self, parser):
        parser.add_argument("project")
        parser.add_argument("--model", help="as reviews@3: judge by that version, and only what it has not learnt from")
        parser.add_argument("--show", type=int, default=20, help="so many of the doubts, the surest first")

    def handle(self, *, project, model, show, **options):
        found = Project.objects.filter(name=project).first()
        if found is None:
            raise CommandError(f"no project {project!r}")
        try:
            version = predicting.version_named(model) if model else None
            job = bring_to_end(doubting.look(found, by=None, version=version))
        except Fact as fact:
            raise CommandError(fact.message) from fact
        if job.state != Job.State.DONE:
            raise CommandError(f"{job.get_state_display().lower()}: {job.error or 'no reason given'}")
        told = job.result
        self.stdout.write(
            f"{told['model']}: {told['judged']:,} verdicts judged, {told['learnt_from']:,} left out as it learnt from "
            f"them, {told['too_rare']:,} of too rare labels; {told['doubts']:,} doubted"
        )
        doubts = Doubt.objects.filter(project=found, model=told["model"]).open().select_related("task")
        for doubt in doubts.order_by("trust", "pk")[:show]:
            self.stdout.write(f"{doubt.trust:5.2f}  {doubt.verdict} → {doubt.suggestion}  {doubt.task}")
