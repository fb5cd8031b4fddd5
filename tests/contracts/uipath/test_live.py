"""Over a real connection: what a test client would decode before it is sent."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.db import connection

from labelhub.accounts.keys import create_key
from samples.models import Label
from tests.factories import make_staff

from .conftest import comment


@pytest.fixture
def session(live_server):
    key, secret = create_key(make_staff("banker"))
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {key.key_id}.{secret}"
    session.base = live_server.url
    session.put(f"{session.base}/api/_private/projects/bank", json={"project": {}})
    session.source = session.put(f"{session.base}/api/v1/sources/bank%2Finbox", json={"source": {}}).json()["source"]
    yield session
    session.close()


@pytest.mark.django_db(transaction=True)
def test_project_and_name_may_be_one_segment_or_two(session):
    made = session.put(f"{session.base}/api/v1/datasets/bank%2Fmail", json={"dataset": {}}).json()["dataset"]
    for path in ("bank%2Fmail", "bank/mail", f"id:{made['id']}"):
        answer = session.get(f"{session.base}/api/v1/datasets/{path}")
        assert answer.request.url.endswith(path), "the client sent something else"
        assert answer.json() == {"dataset": made, "status": "ok"}
    answer = session.post(f"{session.base}/api/v1/datasets/bank%2Fmail/export", json={"limit": 1})
    assert answer.json() == {"comments": [], "status": "ok"}


@pytest.mark.django_db(transaction=True)
def test_thirty_two_threads_label_with_labels_nobody_knew(session):
    """As the command line uploads annotations: each label once, each comment with its own."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite's database in memory is one connection for all threads; PostgreSQL runs this")
    body = {"dataset": {"source_ids": [session.source["id"]]}}
    session.put(f"{session.base}/api/v1/datasets/bank%2Fmail", json=body)
    comments = [comment(number) for number in range(40)]
    session.post(f"{session.base}/api/v1/sources/bank%2Finbox/sync", json={"comments": comments})

    def upload(number):
        path = f"{session.base}/api/_private/datasets/bank%2Fmail/labellings/{session.source['id']}.c{number}"
        labels = [{"name": f"L{number % 7}", "sentiment": "positive"}]
        body = {"labelling": [{"group": "default", "assigned": labels}]}
        for pause in (1, 2, 4, 8):  # a busy database is 503, which the command line tries again (after 5, 10 and 20 s)
            status = requests.post(path, json=body, headers=dict(session.headers)).status_code
            if status != 503:
                break
            time.sleep(pause)
        return status

    with ThreadPoolExecutor(32) as threads:
        assert set(threads.map(upload, range(40))) == {200}
    assert sorted(Label.objects.values_list("name", "position")) == sorted(
        (name, position)
        for position, name in enumerate(Label.objects.order_by("position").values_list("name", flat=True))
    )
    dataset = session.get(f"{session.base}/api/v1/datasets/bank%2Fmail").json()["dataset"]
    assert [told["name"] for told in dataset["label_defs"]] == [f"L{number}" for number in range(7)]
