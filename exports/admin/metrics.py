"""The scores of a model, as people read them: figures, a line for each label, who was taken for whom."""

from collections.abc import Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from labelhub.admin import EMPTY, percent, pretty_json

TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "log_loss": "Log-loss",
    "ece": "Calibration error",
    "last_loss": "Loss at the end",
    "last_valid_loss": "Validation loss at the end",
    "last_accuracy": "Token accuracy at the end",
    "n_train": "Trained on",
    "n_test": "Tested on",
    "n_test_also_in_train": "Of these also trained on",
    "test": "Tested with",
}
WIDEST_MATRIX = 30  # labels; a larger one is no picture any more


def figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def headline(metrics: Mapping[str, Any] | None) -> str:
    """The two figures for a list: accuracy and macro-F1, or where the provider measures none the last losses."""
    found = metrics or {}
    names = ("accuracy", "macro_f1") if "accuracy" in found else ("last_loss", "last_valid_loss")
    shown = [f"{TITLES[name]} {figure(found[name])}" for name in names if name in found]
    return " · ".join(shown) or EMPTY


def metrics_table(metrics: Mapping[str, Any] | None) -> SafeString | str:
    """Everything a run measured: what has a known shape as tables, the rest as it stands."""
    if not metrics:
        return EMPTY
    parts = [figures(metrics)]
    if per_label := metrics.get("per_label"):
        parts.append(label_table(per_label))
    if confusion := metrics.get("confusion"):
        parts.append(confusion_table(confusion["labels"], confusion["rows"]))
    if coverage := metrics.get("coverage"):
        parts.append(coverage_table(coverage))
    shown = ("per_label", "confusion", "coverage")
    rest = {name: value for name, value in metrics.items() if isinstance(value, dict | list) and name not in shown}
    if rest:
        parts.append(pretty_json(rest))
    return format_html('<div class="hub-metrics">{}</div>', mark_safe("".join(parts)))


def figures(metrics):
    plain = [
        (TITLES.get(name, name.replace("_", " ").capitalize()), figure(value))
        for name, value in metrics.items()
        if not isinstance(value, dict | list)
    ]
    cells = format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", plain)
    return format_html('<dl class="hub-figures">{}</dl>', cells)


def label_table(per_label):
    rows = format_html_join(
        "",
        "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (name, *(figure(scores.get(key, EMPTY)) for key in ("precision", "recall", "f1", "support")))
            for name, scores in per_label.items()
        ),
    )
    return format_html(
        '<table class="hub-table"><thead><tr><th>Label</th><th>Precision</th><th>Recall</th><th>F1</th>'
        "<th>Examples</th></tr></thead><tbody>{}</tbody></table>",
        rows,
    )


def coverage_table(curve):
    """How much of the work the model could do alone, and how well, at each degree of sureness."""
    rows = format_html_join(
        "",
        "<tr><th>{}</th><td>{}</td><td>{}</td></tr>",
        ((f"≥ {point['threshold']:g}", percent(point["coverage"]), percent(point["accuracy"])) for point in curve),
    )
    return format_html(
        '<table class="hub-table"><caption>Trusting only answers that the model is so sure of</caption><thead><tr>'
        "<th>Sureness</th><th>Covers</th><th>Right</th></tr></thead><tbody>{}</tbody></table>",
        rows,
    )


def confusion_table(labels, matrix):
    """A row for each true label, a column for each guess; the darker, the more."""
    if len(labels) > WIDEST_MATRIX:
        return format_html("<p>{} labels: the confusion matrix is too large to show here.</p>", len(labels))
    most = max((count for row in matrix for count in row), default=0) or 1
    heads = format_html_join("", "<th>{}</th>", ((label,) for label in labels))
    rows = format_html_join(
        "",
        "<tr><th>{}</th>{}</tr>",
        (
            (
                label,
                format_html_join(
                    "",
                    '<td class="{}" style="--heat:{}%">{}</td>',
                    (("right" if x == y else "wrong", round(70 * count / most), count) for x, count in enumerate(row)),
                ),
            )
            for y, (label, row) in enumerate(zip(labels, matrix, strict=True))
        ),
    )
    return format_html(
        '<table class="hub-table hub-confusion"><caption>True label (rows), guessed as (columns)</caption>'
        "<thead><tr><th></th>{}</tr></thead><tbody>{}</tbody></table>",
        heads,
        rows,
    )


# Two side by side -----------------------------------------------------------------------------------------------------

COMPARED = {"accuracy": 1, "macro_f1": 1, "micro_f1": 1, "log_loss": -1, "ece": -1}  # 1: more is better


def side_by_side(pair):
    """(what, first, second, difference, "better" | "worse" | "") for each figure that both have."""
    first, second = pair
    return [
        (TITLES[name], figure(first[name]), figure(second[name]), *_difference(first[name], second[name], sign))
        for name, sign in COMPARED.items()
        if name in first and name in second
    ]


def labels_side_by_side(pair):
    """The same for each label's F1, with how often it occurs; what changed most comes first."""
    first, second = (metrics["per_label"] for metrics in pair)
    names = sorted(first.keys() & second.keys(), key=lambda name: -abs(second[name]["f1"] - first[name]["f1"]))
    return [
        (
            name,
            second[name]["support"],
            figure(first[name]["f1"]),
            figure(second[name]["f1"]),
            *_difference(first[name]["f1"], second[name]["f1"], 1),
        )
        for name in names
    ]


def _difference(before, after, sign):
    step = after - before
    if abs(step) < 0.0005:
        return "=", ""
    return f"{step:+.3f}", "better" if step * sign > 0 else "worse"
