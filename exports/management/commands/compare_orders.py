"""`manage.py compare_orders FILE`: does giving what the model is least sure about save labels, on these data?"""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from exports.orders import Curve, Plan, compare, labels_for
from exports.plots import line_plot
from labelhub.facts import Fact
from samples.intake.reading import Layout, read

WORDS = {"margin": "by margin", "random": "at random"}


class Command(BaseCommand):
    help = (
        "Label a labelled file once more, by margin and at random, and show how accurate the local model is after each "
        "step: a table, and with --plot a picture (SVG). Nothing is written into the database."
    )

    def add_arguments(self, parser):
        parser.add_argument("files", nargs="+", help="CSV, TSV, JSON Lines, JSON or Parquet with texts and labels")
        parser.add_argument("--content-field", default="text")
        parser.add_argument("--label-field", default="label")
        parser.add_argument("--start", type=int, default=100, help="labels before the first model")
        parser.add_argument("--step", type=int, default=100, help="labels more at each step")
        parser.add_argument("--steps", type=int, default=8)
        parser.add_argument("--random-share", type=float, default=0.2, help="drawn at random when given by margin")
        parser.add_argument("--seeds", type=int, default=5, help="so many times, each with other texts to be judged by")
        parser.add_argument("--title", default="")
        parser.add_argument("--plot", help="where to write the picture")

    def handle(self, *, files, content_field, label_field, seeds, title, plot, **options):
        rows = [row for name in files for row in rows_of(Path(name), content_field, label_field)]
        plan = Plan(options["start"], options["step"], options["steps"], options["random_share"])
        texts = len(dict(rows))
        if plan.sizes[-1] > 0.75 * texts:
            raise CommandError(
                f"{plan.sizes[-1]} labels are asked for, and of {texts} different texts three quarters are to be "
                "labelled: take fewer or smaller steps"
            )
        told = self.stderr.write if options["verbosity"] else lambda said: None
        curves = compare(rows, plan, seeds=range(seeds), told=told)
        self.stdout.write("\n".join(table_of(curves)))
        if plot:
            lines = {WORDS[curve.order]: list(zip(curve.sizes, curve.means, strict=True)) for curve in curves}
            bands = {WORDS[curve.order]: curve.spreads for curve in curves}
            Path(plot).write_text(line_plot(lines, bands=bands, title=title, x_title="labels", y_title="accuracy"))


def rows_of(path: Path, content_field, label_field):
    """(text, label) of each row of the file."""
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    with path.open("rb") as file:
        for line, row in read(file, name=path.name, layout=Layout()):
            if isinstance(row, Fact):
                raise CommandError(f"{path.name}, line {line}: {row.message}")
            if content_field not in row or label_field not in row:
                raise CommandError(
                    f"{path.name} has the columns {', '.join(row)}, not {content_field} and {label_field}"
                )
            yield str(row[content_field]), str(row[label_field])


def table_of(curves: list[Curve]) -> list[str]:
    """A row for each number of labels, in Markdown; and how many labels each order takes to where the other one ends."""
    margin, chance = curves
    lines = ["| labels | by margin | at random | difference |", "|---:|---:|---:|---:|"]
    for place, size in enumerate(margin.sizes):
        shown = [f"{curve.means[place]:.3f} ± {curve.spreads[place]:.3f}" for curve in curves]
        lines.append(f"| {size} | {shown[0]} | {shown[1]} | {margin.means[place] - chance.means[place]:+.3f} |")
    goal = chance.means[-1]
    needed = labels_for(margin, goal)
    lines.append("")
    if needed is None:
        lines.append(f"By margin, the {goal:.3f} that {chance.sizes[-1]} labels at random come to is not reached.")
    else:
        share = 1 - needed / chance.sizes[-1]
        lines.append(
            f"What {chance.sizes[-1]} labels at random come to, {goal:.3f}, takes {needed:.0f} by margin ({share:+.0%} saved)."
        )
    return lines
