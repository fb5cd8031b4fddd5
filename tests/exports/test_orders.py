"""What an order of labelling is worth: the same data labelled once more in both orders, as a table and a picture."""

import csv
from io import StringIO
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command

from exports.orders import Curve, Plan, compare, labels_for, parts, run
from exports.plots import line_plot, ticks

from .training import opinions, uci


def rows(count=200):
    return list(opinions(count))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "opinions.csv"
    with path.open("w", newline="") as open_file:
        csv.writer(open_file).writerows([("text", "label"), *rows()])
    return path


def told(*args):
    out = StringIO()
    call_command(
        "compare_orders", *args, "--start", "10", "--step", "10", "--steps", "2", stdout=out, stderr=StringIO()
    )
    return out.getvalue()


def test_no_text_is_both_learnt_from_and_judged_by():
    pool, test = parts([*rows(), *rows()], seed=3)  # every text twice
    assert len(pool) == 150 and len(test) == 50
    assert not {text for text, _ in pool} & {text for text, _ in test}
    assert parts(rows(), seed=3) == (pool, test) != parts(rows(), seed=4)


def test_both_orders_begin_with_the_same_texts_and_a_seed_repeats_its_run():
    pool, test = parts(rows(), seed=0)
    plan = Plan(start=10, step=10, steps=2)
    runs = {order: list(run(pool, test, plan, order=order, seed=0)) for order in ("margin", "random")}
    assert runs["margin"][0] == runs["random"][0]
    assert [size for size, _ in runs["margin"]] == plan.sizes == [10, 20, 30]
    assert list(run(pool, test, plan, order="margin", seed=0)) == runs["margin"]


def test_all_drawn_at_random_is_no_better_than_random_for_it_is_the_same_thing():
    """With a share of one, margin order is another random order: over several seeds the two are alike."""
    margin, chance = compare(rows(), Plan(10, 20, 2, random_share=1.0), seeds=range(6))
    assert abs(margin.means[-1] - chance.means[-1]) < 0.06


def test_the_labels_it_takes_are_read_off_between_two_steps():
    curve = Curve("margin", [10, 20, 30], [0.5, 0.7, 0.8], [0.0] * 3)
    assert labels_for(curve, 0.6) == pytest.approx(15)
    assert (labels_for(curve, 0.4), labels_for(curve, 0.9)) == (10.0, None)


def test_the_command_prints_a_table_and_draws_a_plot(file, tmp_path):
    plot = tmp_path / "plot.svg"
    printed = told(str(file), "--seeds", "2", "--plot", str(plot), "--title", "Kettles & trains").splitlines()
    assert printed[0] == "| labels | by margin | at random | difference |"
    assert [line.split("|")[1].strip() for line in printed[2:5]] == ["10", "20", "30"]
    assert "by margin" in printed[-1]
    svg = ElementTree.parse(plot).getroot()
    names = "".join(svg.itertext())
    assert "Kettles & trains" in names and "at random" in names
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2


def test_a_file_that_cannot_be_used_is_named(file, tmp_path):
    with pytest.raises(CommandError, match="there is no file"):
        told(str(tmp_path / "nothing.csv"))
    with pytest.raises(CommandError, match="has the columns text, label, not review and label"):
        told(str(file), "--content-field", "review")
    with pytest.raises(CommandError, match="200 different texts"):
        call_command("compare_orders", str(file), "--steps", "50")


def test_a_plot_escapes_what_it_is_given_and_its_ticks_are_round():
    svg = line_plot({"<b>": [(0, 0.5), (10, 0.75)]}, title='a "title"', x_title="x", y_title="y")
    ElementTree.fromstring(svg)
    assert "&lt;b&gt;" in svg
    assert ticks(0.5, 0.75) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75]
    assert ticks(100, 1100) == [0, 200, 400, 600, 800, 1000, 1200]


def test_on_real_texts_margin_order_takes_fewer_labels(real_data):
    margin, chance = compare(list(uci(real_data)), Plan(200, 200, 3), seeds=range(3))
    assert margin.means[-1] > chance.means[-1]
    assert labels_for(margin, chance.means[-1]) < chance.sizes[-1]
