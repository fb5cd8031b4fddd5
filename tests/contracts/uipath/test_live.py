"""Over a real connection: what a test client would decode before it is sent."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.db import connection, transaction

from labelhub.accounts.keys import create_key
from labelhub.sqlite import turn
from samples.models import Label, Task
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


def test_thirty_two_threads_label_with_labels_nobody_knew_and_none_is_turned_away(served):
    """As the command line uploads annotations: it does not ask again where one is refused, be it with 503."""
    key, secret = create_key(make_staff("banker"))
    headers = {"Authorization": f"Bearer {key.key_id}.{secret}"}

    def ask(method, path, body):
        return requests.request(method, f"{served.url}/api/{path}", json=body, headers=headers, timeout=240)

    ask("PUT", "_private/projects/bank", {"project": {}})
    source = ask("PUT", "v1/sources/bank%2Finbox", {"source": {}}).json()["source"]["id"]
    ask("PUT", "v1/datasets/bank%2Fmail", {"dataset": {"source_ids": [source]}})
    comments = [comment(number) for number in range(96)]
    assert ask("PUT", "_private/sources/bank%2Finbox/comments", {"comments": comments}).status_code == 200

    def upload(number):
        labels = [{"name": f"L{number % 7}", "sentiment": "positive"}]
        body = {"labelling": [{"group": "default", "assigned": labels}]}
        return ask("POST", f"_private/datasets/bank%2Fmail/labellings/{source}.c{number}", body).status_code

    with ThreadPoolExecutor(32) as threads:
        assert set(threads.map(upload, range(96))) == {200}
    names = list(Label.objects.order_by("position").values_list("name", flat=True))
    assert sorted(names) == [f"L{number}" for number in range(7)]
    assert list(Label.objects.order_by("position").values_list("position", flat=True)) == list(range(7))
    dataset = ask("GET", "v1/datasets/bank%2Fmail", None).json()["dataset"]
    assert [told["name"] for told in dataset["label_defs"]] == [f"L{number}" for number in range(7)]
    assert Task.objects.filter(status="COMPLETED").count() == 96


@pytest.mark.django_db(transaction=True)
def test_on_sqlite_who_begins_a_transaction_stands_in_line():
    """The turn keeps the next waiting; who is inside a transaction already does not wait for himself."""
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite has but one writer")
    order = []

    def second():
        order.append("asked")
        with turn():
            order.append("second")

    waiting = threading.Thread(target=second)
    with turn():
        waiting.start()
        waiting.join(0.3)
        assert order == ["asked"]
        with transaction.atomic(), turn():
            order.append("first")
    waiting.join(10)
    assert order == ["asked", "first", "second"]
