"""How far a model is trusted is read off its held-out curve, never a constant; without a curve it is refused."""

import pytest

from exports import trusting
from exports.errors import NoCurve, OutOfReach
from exports.models import FineTune, ModelVersion
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples.errors import NotAllowed
from tests.factories import make_batch, make_member, make_project

pytestmark = pytest.mark.django_db

CURVE = [
    {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.8},
    {"threshold": 0.5, "coverage": 0.9, "accuracy": 0.85},
    {"threshold": 0.7, "coverage": 0.6, "accuracy": 0.9},
    {"threshold": 0.8, "coverage": 0.5, "accuracy": 0.96},
    {"threshold": 0.9, "coverage": 0.3, "accuracy": 0.95},
    {"threshold": 0.99, "coverage": 0.05, "accuracy": 1.0},
]


def version_with(metrics, **more):
    project = make_project(**more)
    finetune = FineTune.objects.create(batch=make_batch(project), status="SUCCESS")
    return ModelVersion.objects.create(project=project, version=1, finetune=finetune, metrics=metrics)


@pytest.fixture
def version():
    return version_with({"coverage": CURVE, "n_test": 200})


@pytest.mark.parametrize(("wanted", "threshold", "covers"), [(0.5, 0.0, 1.0), (0.85, 0.5, 0.9), (0.95, 0.8, 0.5)])
def test_the_lowest_threshold_that_was_right_so_often_is_taken(version, wanted, threshold, covers):
    trust = trusting.trust_for(version, wanted)
    assert (trust.threshold, trust.coverage) == (threshold, covers)
    assert trust.low < trust.precision < trust.high


def test_a_point_that_hardly_any_text_stands_behind_says_nothing(version):
    with pytest.raises(
        OutOfReach, match=r"never right about 99\.0% of what it is sure of; at best about 96\.0%, from 0\.8"
    ):
        trusting.trust_for(version, 0.99)  # ten texts of 200 are above 0.99, all right: that may be luck


@pytest.mark.parametrize(
    "metrics", [{}, {"coverage": CURVE}, {"n_test": 200}, {"coverage": CURVE, "n_test": 12}], ids=str
)
def test_without_a_curve_nobody_is_trusted(metrics):
    with pytest.raises(NoCurve):
        trusting.trust_for(version_with(metrics), 0.5)


def test_a_model_of_several_labels_has_no_one_threshold():
    version = version_with({"coverage": CURVE, "n_test": 200}, task_type="MULTI_LABEL")
    with pytest.raises(NoCurve, match="several labels"):
        trusting.trust_for(version, 0.9)


def test_filling_in_begins_at_that_threshold_and_says_why(version):
    boss = make_member(version.project, Role.MANAGER)
    trusting.fill_in(version, precision=0.95, by=boss)
    version.project.refresh_from_db()
    assert (version.project.prefill_model, version.project.prefill_threshold) == (str(version), 0.8)
    assert AuditEntry.objects.get(action="fill in").reason == "95.0% asked for, 96.0% measured on 100 texts"
    with pytest.raises(NotAllowed):
        trusting.fill_in(version, precision=0.95, by=make_member(version.project, Role.REVIEWER))


def test_the_page_shows_the_curve_and_what_a_precision_means_before_anything_is_changed(client, version):
    client.force_login(make_member(version.project, Role.MANAGER))
    page = f"/admin/prefill/{version.pk}/"
    shown = client.get(page).content.decode()
    assert "<polyline" in shown and "≥ 0.8" in shown and "96.0%" in shown
    shown = client.post(page, {"precision": "0.95", "show": "1"}).content.decode()
    assert "From 0.8 on the model was right about" in shown and "50%" in shown
    version.project.refresh_from_db()
    assert version.project.prefill_model == ""
    assert client.post(page, {"precision": "0.95", "apply": "1"}).status_code == 302
    version.project.refresh_from_db()
    assert version.project.prefill_threshold == 0.8
    assert "fills in what it is at least" in client.get(page).content.decode()
    client.post(page, {"empty": "1"})
    version.project.refresh_from_db()
    assert version.project.prefill_model == ""


def test_the_page_says_what_is_out_of_reach_or_was_never_measured(client, version):
    client.force_login(make_member(version.project, Role.MANAGER))
    said = client.post(f"/admin/prefill/{version.pk}/", {"precision": "0.99", "apply": "1"}).content.decode()
    assert "at best about 96.0%" in said
    blind = version_with({})
    client.force_login(make_member(blind.project, Role.MANAGER))
    assert "nobody has measured" in client.get(f"/admin/prefill/{blind.pk}/").content.decode().lower()
    assert client.get(f"/admin/prefill/{version.pk}/").status_code == 404
