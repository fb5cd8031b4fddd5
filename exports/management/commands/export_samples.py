"""Write a project's samples to a file of one's choice: a plain export that makes no batch and claims nothing."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from exports import batching, files, formats
from exports.compression import SUFFIXES
from exports.destinations import LocalDraft
from exports.figures import figures_of_rows
from exports.formats.checks import flaws_of
from exports.formats.shape import GUARD
from labelhub.facts import Fact
from samples.models import Project, Sample

from .finetune import batch_named


class Command(BaseCommand):
    help = "Write a project's samples to a file, as they stand now; it makes no batch and claims nothing."

    def add_arguments(self, parser):
        parser.add_argument("--project", required=True, help="the project's name")
        parser.add_argument("--format", required=True, help=f"one of {', '.join(formats.names())}")
        parser.add_argument("--split", metavar="0.8/0.1/0.1", help="train/val/test shares: PATH becomes a ZIP")
        parser.add_argument("--stratify", action="store_true", help="keep each label's share alike in every part")
        parser.add_argument("--seed", default="0", help="deals the samples; the same seed, the same split")
        parser.add_argument("--since", metavar="BATCH", help="only what is new since this batch (its id, or uuid)")
        parser.add_argument("--status", default="APPROVED", choices=Sample.Status.values)
        parser.add_argument("--compression", default="none", choices=list(SUFFIXES), help="of a file that is not split")
        parser.add_argument("--system-prompt", metavar="TEXT", help="said before every conversation, in chat formats")
        parser.add_argument("--guard-formulas", action="store_true", help=f"csv: {GUARD.about.lower()}")
        parser.add_argument(
            "--bundle", action="store_true", help="add README.md, croissant.json and the manifest: a ZIP"
        )
        parser.add_argument("--license", metavar="ID", help="for the card of a bundle: cc-by-4.0, mit, …")
        parser.add_argument("--output", required=True, type=Path, metavar="PATH")
        parser.add_argument("--force", action="store_true", help="replace PATH if it is there")

    def handle(self, *, project, format, split, stratify, seed, since, status, compression, output, force, **options):
        found = Project.objects.filter(name=project).first()
        if found is None:
            raise CommandError(f"no project is called {project!r}")
        if output.is_dir():
            raise CommandError(f"{output} is a folder: name the file to write")
        if output.exists() and not force:
            raise CommandError(f"{output} is there already; --force replaces it")
        samples = Sample.objects.filter(project=found, status=status)
        asked = {name: options[name] for name in ("system_prompt", "guard_formulas", "bundle", "license")}
        chosen = {name: value for name, value in asked.items() if value not in (None, False)}
        try:
            if since:
                samples = batching.new_since(batch_named(since), samples)
            how = {"ratios": split, "seed": seed, "stratify": stratify, "compression": compression}
            file = files.file_of(samples, format=format, options=chosen, **how)
            self.warn(samples, file)
            write(file, output)
        except Fact as fact:
            raise CommandError(fact.message) from fact
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}") from error
        self.report(file, output)

    def warn(self, samples, file):
        """What a batch would be refused for, or warned of; a plain export is written all the same."""
        figures = figures_of_rows(files.writable(samples, file.format))
        said = [flaw.said for flaw in flaws_of(file.format.checks, figures)]
        if number := samples.count() - figures.rows:
            unfit = samples.exclude(files.fitting(samples, file.format))
            said.insert(0, files.left_out(file.format, number, unfit))
        for warning in said:
            self.stderr.write(f"warning: {warning}")

    def report(self, file, output):
        self.stdout.write(f"{output}: {file.rows} rows, {file.whole.bytes} bytes, sha256 {file.whole.sha256}")
        if file.is_archive:
            for part, tally in file.parts.items():
                self.stdout.write(
                    f"  {file.member(part)}: {tally.rows} rows, {tally.bytes} bytes, sha256 {tally.sha256}"
                )


def write(file: files.File, output: Path) -> None:
    """Under another name first: `output` is there whole or not at all."""
    draft = LocalDraft(output)
    try:
        for chunk in file.chunks():
            draft.write(chunk)
        draft.finish()
        draft.publish()
    finally:
        draft.abandon()
