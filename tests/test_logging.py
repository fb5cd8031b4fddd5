"""Logs: a JSON object a line, a request id in it, and never a secret."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from labelhub.logging import configuration, formatter, hide_secrets

SECRET = "s3cr3t-Tres0r"


@pytest.fixture
def logged():
    """Everything logged under "tests", as the JSON lines that would be written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(as_json=True))
    root = logging.getLogger()
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)


def test_both_kinds_of_logger_write_one_json_object_a_line(logged):
    structlog.get_logger("tests").warning("sample_approved", sample=3, label="Négatif\nou pas")
    logging.getLogger("tests").warning("%d rows", 3)
    ours, theirs = logged()
    assert (ours["event"], ours["sample"], ours["label"]) == ("sample_approved", 3, "Négatif\nou pas")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("3 rows", "warning", "tests")
    assert ours["timestamp"].endswith("Z")


def test_an_exception_is_written_without_the_values_of_its_variables(logged):
    def log_in(password):
        raise ValueError("no such user")

    try:
        log_in(SECRET)
    except ValueError:
        structlog.get_logger("tests").exception("login_failed")
    assert "ValueError: no such user" in logged()[0]["exception"]
    assert SECRET not in json.dumps(logged())


@pytest.mark.parametrize(
    "event",
    [
        {"password": SECRET},
        {"SECRET_KEY": SECRET},
        {"api_key": SECRET},
        {"refresh_token": SECRET},
        {"headers": {"Authorization": f"Bearer {SECRET}", "Cookie": f"sessionid={SECRET}"}},
        {"params": [{"provider": {"secret": SECRET}}]},
        {"event": f"called with Authorization: Bearer {SECRET}"},
        {"request": f"GET /api/v1/exports?format=csv&access_token={SECRET}&page=2"},
        {"error": f"cannot connect to postgres://labelhub:{SECRET}@db.example/labelhub"},
        {"exception": f"Traceback …\nConnectionError: redis://:{SECRET}@cache:6379/0"},
        {"event": "lh0123456789abcdef01234567.0123456789abcdef0123456789abcdef" + "0" * 16},
    ],
)
def test_secrets_are_hidden_wherever_they_stand(event):
    line = json.dumps(hide_secrets(None, "info", event))
    assert "[hidden]" in line
    assert SECRET not in line
    assert "0123456789abcdef0123456789abcdef" not in line


@given(st.dictionaries(st.sampled_from(["event", "sample", "tokens", "key_id", "label"]), st.text() | st.integers()))
def test_what_is_no_secret_stays_as_it_is(event):
    words = ("bearer", "basic", "token", "://", "=", "lh")
    event = {name: value for name, value in event.items() if not any(word in str(value).casefold() for word in words)}
    assert hide_secrets(None, "info", event) == event


@pytest.mark.parametrize("as_json", [True, False])
def test_the_configuration_is_plain_data_that_another_process_can_be_given(as_json):
    import pickle

    given = configuration(level=logging.INFO, as_json=as_json)
    assert pickle.loads(pickle.dumps(given)) == given
    assert isinstance(formatter(as_json=as_json), logging.Formatter)


def test_a_request_s_line_has_an_id_and_hides_its_query(client, db, logged):
    client.get(f"/nowhere?token={SECRET}")
    lines = [line for line in logged() if line["event"] == "request_finished"]
    assert [(line["code"], line["request"]) for line in lines] == [(404, "GET /nowhere?token=[hidden]")]
    assert len(lines[0]["request_id"]) == 36


def test_a_health_check_that_went_well_leaves_no_line(client, logged):
    client.get("/healthz")
    assert not [line for line in logged() if line["event"] == "request_finished"]
