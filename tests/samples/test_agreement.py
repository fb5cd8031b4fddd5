"""Agreement beyond chance, against published values and a slow, literal reading of the definition."""

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from samples.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha, project_alpha
from tests.factories import make_annotation, make_project, make_task, make_user

# Krippendorff (2011), section C: four observers, twelve units, values missing.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
KRIPPENDORFF = [[value for value in unit if value is not None] for unit in zip(*OBSERVERS, strict=True)]

# Fleiss (1971): the example of ten subjects and fourteen raters into five categories.
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_what_krippendorff_published(level, published):
    assert krippendorff_alpha(KRIPPENDORFF, level=level) == pytest.approx(published, abs=0.0005)


def test_two_observers_of_nominal_values_agree_as_krippendorff_published():
    ben, gerry = "aabbdcccedda", "babbbccceddd"
    assert krippendorff_alpha(zip(ben, gerry, strict=True)) == pytest.approx(0.692, abs=0.0005)


def by_definition(units, difference):
    """1 − observed / expected disagreement, pair by pair."""
    units = [list(values) for values in units if len(values) >= 2]
    values = [value for unit in units for value in unit]
    if not values:
        return None
    observed = sum(
        sum(difference(one, other) for one, other in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(values)
    pairs = sum(difference(one, other) for one, other in permutations(values, 2))
    expected = pairs / (len(values) * (len(values) - 1))
    return 1 - observed / expected if expected else 1.0


def unlike(one, other):
    return float(one != other)


def ordinal_difference(units):
    counts = Counter(value for unit in units if len(unit) >= 2 for value in unit)

    def difference(one, other):
        low, high = min(one, other), max(one, other)
        between = sum(count for value, count in counts.items() if low <= value <= high)
        return (between - (counts[one] + counts[other]) / 2) ** 2

    return difference


ratings = st.lists(st.lists(st.integers(min_value=1, max_value=5), max_size=5), max_size=10)


@given(ratings)
def test_nominal_alpha_follows_the_definition(units):
    assert krippendorff_alpha(units) == pytest.approx(by_definition(units, unlike))


@given(ratings)
def test_ordinal_alpha_follows_the_definition(units):
    expected = by_definition(units, ordinal_difference(units))
    assert krippendorff_alpha(units, level="ordinal") == pytest.approx(expected)


@given(ratings)
def test_interval_alpha_follows_the_definition(units):
    expected = by_definition(units, lambda one, other: float(one - other) ** 2)
    assert krippendorff_alpha(units, level="interval") == pytest.approx(expected)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_many_units_are_counted_in_blocks_without_a_seam(level):
    copies, paired = 1000, sum(len(values) for values in KRIPPENDORFF if len(values) > 1)
    disagreement = 1 - krippendorff_alpha(KRIPPENDORFF, level=level)
    expected = 1 - disagreement * (copies * paired - 1) / (copies * (paired - 1))
    assert krippendorff_alpha(KRIPPENDORFF * copies, level=level) == pytest.approx(expected)


@given(ratings)
def test_the_names_of_nominal_values_do_not_matter(units):
    renamed = {number: [f"label {value}" for value in values] for number, values in enumerate(units)}
    assert krippendorff_alpha(renamed) == krippendorff_alpha(units)


def test_ordinal_values_may_be_words_in_an_order_of_their_own():
    words = {1: "poor", 2: "fair", 3: "good", 4: "better", 5: "best"}
    units = [[words[value] for value in values] for values in KRIPPENDORFF]
    assert krippendorff_alpha(units, level="ordinal", order=list(words.values())) == pytest.approx(0.815, abs=0.0005)
    assert krippendorff_alpha(units, level="ordinal") != pytest.approx(0.815, abs=0.01)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("units", [[], [[]], [[1], [2], [3]]])
def test_alpha_is_undefined_where_nothing_can_be_paired(level, units):
    assert krippendorff_alpha(units, level=level) is None


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_one_and_the_same_value_everywhere_is_full_agreement(level):
    assert krippendorff_alpha([[1, 1], [1, 1, 1]], level=level) == 1.0


def test_systematic_disagreement_is_below_zero():
    assert krippendorff_alpha([["a", "b"], ["b", "a"], ["a", "b"]]) < 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=30))
def test_cohen_s_kappa_is_scikit_learn_s(pairs):
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    if len({*first, *second}) > 1:
        assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_cohen_s_kappa_at_its_edges():
    assert cohen_kappa([], []) is None
    assert cohen_kappa("aa", "aa") == 1.0
    with pytest.raises(ValueError):
        cohen_kappa("aaa", "aa")


def test_fleiss_kappa_is_what_fleiss_s_example_gives():
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=0.0005)


def test_fleiss_kappa_of_a_unit_each_category_is_one_and_of_unequal_rows_is_refused():
    assert fleiss_kappa([[3, 0], [0, 3]]) == 1.0
    assert fleiss_kappa([[3, 0], [3, 0]]) == 1.0
    assert fleiss_kappa([]) is None
    assert fleiss_kappa([[1, 0], [0, 1]]) is None
    with pytest.raises(ValueError, match="same number"):
        fleiss_kappa([[3, 0], [2, 0]])


def answer_all(project, units):
    """Keep `units`, each a list of answers, as annotations of a task each."""
    users = [make_user() for _ in range(max(map(len, units)))]
    for values in units:
        task = make_task(project)
        for user, value in zip(users, values, strict=False):
            if isinstance(value, (list, set)):
                answer = project.kind.clean(list(value), choices=task.choices)
                task.annotations.create(annotator=user, answer=answer)
            else:
                make_annotation(task, user, label=str(value))


@pytest.mark.django_db
@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_a_project_s_alpha_is_that_of_its_answers_in_one_query(level, published, django_assert_num_queries):
    project = make_project(task_type="TEXT_CLASSIFICATION", labels=["1", "2", "3", "4", "5"])
    answer_all(project, KRIPPENDORFF)
    with django_assert_num_queries(1 if level == "nominal" else 2):  # a scale also needs the labels in order
        alpha = project_alpha(project, level=level)
    assert alpha == pytest.approx(published, abs=0.0005)


@pytest.mark.django_db
def test_several_labels_differ_by_the_labels_that_only_one_answer_has():
    project = make_project(task_type="MULTI_LABEL", labels=["joy", "fear", "anger"])
    units = [[{"joy"}, {"joy", "fear"}], [{"anger"}, {"anger"}, {"fear"}], [{"joy", "anger"}, {"joy"}], [{"fear"}]]
    answer_all(project, units)
    expected = by_definition(units, lambda one, other: len(one ^ other))
    assert project_alpha(project) == pytest.approx(expected)
    assert project_alpha(project, level="ordinal") is None


@pytest.mark.django_db
def test_a_project_without_answers_or_without_labels_has_no_alpha():
    assert project_alpha(make_project()) is None
    assert project_alpha(make_project(task_type="TEXT_GENERATION", labels=())) is None


@pytest.mark.django_db
def test_other_projects_answers_do_not_count():
    project = make_project()
    answer_all(project, [["Positif", "Négatif"], ["Négatif", "Positif"]])
    before = project_alpha(project)
    answer_all(make_project(), [["Positif", "Positif"]])
    assert project_alpha(project) == before
