"""The OpenAPI document, and the server against it: schemathesis asks what the document allows, and more."""

import re
from pathlib import Path

import pytest
import schemathesis
import yaml
from django.core import signals
from django.db import close_old_connections
from django.test import Client
from django.urls import resolve
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from exports.models import Batch, FineTune, ModelVersion
from labelhub.accounts.keys import create_key
from labelhub.jobs.models import Job
from labelhub.wsgi import application
from samples.models import Annotation, Doubt, Label, Prediction, Project, Sample, Task
from tests.factories import make_member, make_project, make_superuser, make_task
from tests.world import fill

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 6  # for each of some sixty operations

document = schemathesis.openapi.from_wsgi("/api/schema?format=json", application)


@pytest.fixture
def kept_connection():
    """The end of a request closes the connection, and with it the test's transaction; Django's own client sees to that too."""
    signals.request_started.disconnect(close_old_connections)
    signals.request_finished.disconnect(close_old_connections)
    yield
    signals.request_started.connect(close_old_connections)
    signals.request_finished.connect(close_old_connections)


@pytest.fixture
def world(db, kept_connection):
    """A hub with some of everything, a caller who may do everything in it, and how the rows are called."""
    boss = make_superuser()
    project = make_project("reviews")
    make_member(project, user=boss, role="manager")
    fill(project, 3, owner=boss)
    make_task(project)
    key, secret = create_key(boss)

    def names():
        """How a few rows of each noun are called at this moment; some may be gone."""
        return {
            "/projects/": Project.objects.values_list("name", flat=True),
            "/labels/": Label.objects.values_list("pk", flat=True),
            "/tasks/": Task.objects.order_by("-pk").values_list("uid", flat=True),
            "/annotations/": Annotation.objects.values_list("pk", flat=True),
            "/predictions/": Prediction.objects.values_list("pk", flat=True),
            "/doubts/": Doubt.objects.values_list("pk", flat=True),
            "/samples/": Sample.objects.values_list("uid", flat=True),
            "/batches/": Batch.objects.values_list("uuid", flat=True),
            "/finetunes/": FineTune.objects.values_list("uuid", flat=True),
            "/models/": ModelVersion.objects.values_list("pk", flat=True),
            "/jobs/": Job.objects.values_list("pk", flat=True),
        }

    return f"Bearer {key.key_id}.{secret}", names


@document.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
def test_the_server_answers_as_the_document_says(case, world):
    token, names = world
    for prefix, rows in names().items():
        name = next((name for name in case.path_parameters or {} if name != "tag"), None)
        # Half of the addresses are of rows that are there; the others are the generator's own.
        if name and prefix in case.path and len(str(case.path_parameters[name])) % 2:
            case.path_parameters[name] = str(rows.first() or case.path_parameters[name])
    case.call_and_validate(headers={"Authorization": token, "Accept-Encoding": "identity"}, checks=CHECKS)


def test_the_document_is_there_in_json_and_in_yaml():
    as_json = Client().get("/api/schema", headers={"accept": "application/json"})
    as_yaml = Client().get("/api/schema")
    assert as_json["Content-Type"].startswith("application/") and as_json.json()["openapi"].startswith("3.")
    assert yaml.safe_load(as_yaml.content) == as_json.json()


def test_every_operation_says_what_it_does_and_how_it_refuses():
    told = Client().get("/api/schema?format=json").json()
    operations = [
        (method, path, operation)
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]
    assert len(operations) > 50
    for method, path, operation in operations:
        wanted = {"400", "401", "404", "503"} | ({"403", "409", "413", "415"} if method != "get" else set())
        assert wanted <= set(operation["responses"]), (method, path)
        assert operation["summary"] and operation["tags"] != ["authentication"] or "/auth/" in path, (method, path)
        refusals = [
            answer["content"]["application/json"]["schema"]
            for status, answer in operation["responses"].items()
            if status >= "400"
        ]
        assert all(one == {"$ref": "#/components/schemas/ErrorBody"} for one in refusals), (method, path)
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids))


def test_every_address_in_the_guide_is_there():
    guide = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()
    addresses = set(re.findall(r"\$HUB(/api/[^\s\"'?]+)", guide))
    assert len(addresses) > 12
    for address in addresses:
        resolve(address)  # Resolver404 where nobody answers


def test_only_our_own_paths_are_described():
    told = Client().get("/api/schema?format=json").json()
    assert not [path for path in told["paths"] if "/datasets" in path or "/sources" in path or "_private" in path]
