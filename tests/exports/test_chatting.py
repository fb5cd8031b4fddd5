"""Models at a provider guess: a chat completion a text, so many at once, patient where it is busy, and never paid twice.

The provider is a small server of ours that behaves as documented; it is spoken to by the real client.
"""

import json
import time

import pytest

from exports.errors import Unsuitable
from exports.finetuning import submit
from exports.models import ModelVersion, PredictionRun
from exports.predicting import ask, unlabelled
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.models import Prediction, Task
from tests.factories import make_task
from tests.providers.shop import Shop

from .test_predicting import done, kept
from .test_remote_providers import only, step
from .training import batch_of, opinions

pytestmark = pytest.mark.django_db
CHAT = "POST /chat/completions"


@pytest.fixture(params=["openai", "glm", "together"])
def shop(request, settings):
    settings.JOB_LEASE_SECONDS = 600
    settings.PROVIDER_TIMEOUT = 5
    settings.PREDICT_PATIENCE_SECONDS = 20
    with Shop(request.param) as server:
        settings.FINETUNE_PROVIDERS = {request.param: server.settings()}
        server.says = lambda text: "Bad" if "broken" in text else "Good"
        yield server


def trained(shop, **more):
    batch = batch_of(opinions(), format="openai", **more)
    finetune = step(submit(batch, by=batch.created_by, provider=shop.dialect))
    shop.succeed(shop.only_job(), "ft:base:org::7")
    step(finetune)
    return ModelVersion.objects.select_related("project", "finetune__batch__project").get()


@pytest.fixture
def version(shop, db):
    return trained(shop)


def texts(version, count=4):
    return [make_task(version.project, f"kettle {n}: {'broken' if n % 2 else 'lovely'}") for n in range(count)]


def test_each_text_is_asked_in_the_words_of_the_exported_file_and_its_answer_is_kept_with_its_likelihood(shop, version):
    tasks = texts(version)
    run = done(ask(version, unlabelled(version.project), by=None))
    guesses = Prediction.objects.select_related("label").order_by("task")
    assert [guess.label.name for guess in guesses] == ["Good", "Bad", "Good", "Bad"]
    assert [guess.probability for guess in guesses] == pytest.approx([0.9] * 4)
    assert Task.objects.get(pk=tasks[0].pk).margin == pytest.approx(0.8)  # another answer has a tenth at most
    assert (run.guessed_count, run.refused_count) == (4, 0)
    asked = sorted(shop.calls(CHAT), key=lambda body: body["messages"][0]["content"])
    assert [body["model"] for body in asked] == ["ft:base:org::7"] * 4
    exported = shop.files[version.finetune.provider_files["train"]]["_content"].decode().splitlines()[0]
    before, after = json.loads(exported)["messages"][0]["content"].split(": ", 1)[0], asked[0]["messages"]
    assert after == [{"role": "user", "content": f"{before}: kettle 0: lovely"}]
    assert asked[0]["temperature"] == 0


@only("openai")
def test_the_system_prompt_it_was_trained_with_comes_first(shop, db):
    version = trained(shop, options={"system_prompt": "You judge opinions."})
    texts(version, 1)
    done(ask(version, unlabelled(version.project), by=None))
    assert shop.calls(CHAT)[0]["messages"][0] == {"role": "system", "content": "You judge opinions."}


@only("openai")
def test_what_was_asked_is_not_asked_and_paid_again(shop, version):
    texts(version)
    done(ask(version, unlabelled(version.project), by=None))
    before = kept()
    make_task(version.project, "a fifth one")
    run = done(ask(version, unlabelled(version.project), by=None))
    assert len(shop.calls(CHAT)) == 5
    assert (run.task_count, run.guessed_count) == (5, 5)
    assert kept()[:4] == before


@only("openai")
def test_an_answer_that_is_no_label_is_counted_and_told(shop, version):
    shop.says = lambda text: "I cannot say" if "broken" in text else "Good "
    texts(version)
    run = done(ask(version, unlabelled(version.project), by=None))
    assert (run.guessed_count, run.refused_count, run.refusals) == (2, 2, {"I cannot say": 2})
    assert Prediction.objects.count() == 2
    assert run.job.result["no_label"] == 2


@only("openai")
def test_a_text_that_the_provider_will_not_speak_about_stops_nothing(shop, version):
    shop.says = lambda text: "(filtered)" if "broken" in text else "Good"
    texts(version)
    run = done(ask(version, unlabelled(version.project), by=None))
    assert (run.guessed_count, run.refusals) == (2, {"content_filter": 2})


def test_no_more_questions_at_once_than_the_settings_say(shop, version, settings):
    settings.PREDICT_AT_ONCE = 3
    shop.thinks = 0.05
    texts(version, 12)
    done(ask(version, unlabelled(version.project), by=None))
    assert shop.most_thinking == 3


@only("openai", "glm")
def test_a_provider_that_wants_fewer_questions_is_given_the_time_it_asks_for(shop, version):
    shop.fail(CHAT, 429, headers={"Retry-After": "1"}, times=2)
    texts(version)
    started = time.monotonic()
    run = done(ask(version, unlabelled(version.project), by=None))
    assert 1.0 <= time.monotonic() - started < 10
    assert (run.guessed_count, run.job.attempt) == (4, 1)
    assert len(shop.calls(CHAT)) == 6


@only("openai")
def test_a_provider_that_stumbles_is_asked_again(shop, version):
    shop.fail(CHAT, 503, times=2)
    texts(version)
    assert done(ask(version, unlabelled(version.project), by=None)).guessed_count == 4


@only("openai")
def test_one_that_stays_away_is_asked_again_later_and_what_it_said_is_kept(shop, version, settings):
    settings.PREDICT_AT_ONCE, settings.PREDICT_PATIENCE_SECONDS = 1, 0
    tasks = texts(version, 10)  # eight of them in a block
    run = ask(version, unlabelled(version.project), by=None)
    shop.says = lambda text: shop.fail(CHAT, 503, times=99) or "Good" if f"{tasks[7].content}" in text else "Good"
    worker.run(queue.claim(run.job.pk))
    run = PredictionRun.objects.get()
    assert (run.position, run.guessed_count, run.job.state, run.job.attempt) == (8, 8, Job.State.QUEUED, 0)
    shop.faults.clear()
    shop.says = lambda text: "Good"
    Job.objects.update(run_after="2020-01-01T00:00:00Z")
    assert done(run).guessed_count == 10
    assert len(shop.calls(CHAT)) == 11  # eight, one that failed, two


@only("openai")
@pytest.mark.django_db(transaction=True)  # a failed job closes its connection
@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, "invalid_api_key", "answered 401"),
        (404, "model_not_found", "answered 404"),
        (429, "insufficient_quota", "answered 429"),
        (429, "rate_limit", "answered 429"),
    ],
)
def test_what_it_refuses_for_all_of_them_ends_the_run_and_is_told(shop, version, settings, status, code, says):
    settings.PREDICT_PATIENCE_SECONDS = 0
    settings.JOB_MAX_ATTEMPTS = 1
    shop.fail(CHAT, status, times=99, body={"error": {"message": "no", "code": code}})
    texts(version)
    run = ask(version, unlabelled(version.project), by=None)
    worker.bring_to_end(run.job)
    run.job.refresh_from_db()
    assert (run.job.state, Prediction.objects.count()) == (Job.State.FAILED, 0)
    assert says in run.job.error


@only("openai", "glm")
def test_a_server_that_tells_no_likelihoods_gives_guesses_without_one(shop, version):
    shop.minds = {"logprobs"}
    task = texts(version, 1)[0]
    done(ask(version, unlabelled(version.project), by=None))
    assert Prediction.objects.get().probability is None
    task.refresh_from_db()
    assert task.margin is None
    assert [("logprobs" in body) for body in shop.calls(CHAT)] == [True, False]


@only("openai")
def test_a_run_that_is_cancelled_stops_asking(shop, version, settings):
    settings.PREDICT_AT_ONCE = 2
    shop.thinks = 0.2
    texts(version, 40)
    run = ask(version, unlabelled(version.project), by=None)
    job = queue.claim(run.job.pk)
    queue.cancel(job)
    worker.run(job)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    assert len(shop.calls(CHAT)) < 20


@only("openai")
def test_a_model_without_a_name_or_an_account_there_cannot_be_asked(shop, version, settings):
    texts(version)
    settings.FINETUNE_PROVIDERS = {"openai": {}}
    with pytest.raises(Unsuitable, match="no account at openai any more"):
        ask(version, unlabelled(version.project), by=None)
    version.provider_model = ""
    with pytest.raises(Unsuitable, match="has not said what"):
        ask(version, unlabelled(version.project), by=None)


@only("openai")
def test_what_learnt_from_preferences_is_not_asked_for_labels(shop, version):
    version.finetune.batch.format = "openai-dpo"
    with pytest.raises(Unsuitable, match="cannot be asked for labels"):
        ask(version, unlabelled(version.project), by=None)
