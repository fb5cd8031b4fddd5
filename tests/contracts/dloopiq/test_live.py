"""The contract's own commands, run as they stand against a server, and what a client sees when a file breaks off."""

import json
import os
import subprocess
import sys
from zipfile import ZipFile

import pytest
import requests
from django.db import connection

from labelhub.accounts.roles import Role
from samples.models import Project, Task
from tests.factories import make_member, make_project, make_settled_task, make_source, make_user
from tests.jobs.conftest import wait_until
from tests.together import at_once

THEIRS, TOKEN = "https://dloopiq.onrender.com", "eyJhbGci..."

CURL = {
    "json": r"""curl "https://dloopiq.onrender.com/api/v1/exports?format=json" \
-H "Authorization: Bearer eyJhbGci..."
""",
    "jsonl": r"""curl "https://dloopiq.onrender.com/api/v1/exports?format=jsonl" \
-H "Authorization: Bearer eyJhbGci..."
""",
    "csv": r"""curl "https://dloopiq.onrender.com/api/v1/exports?format=csv" \
-H "Authorization: Bearer eyJhbGci..." \
-o export.csv
""",
    "openai": r"""curl "https://dloopiq.onrender.com/api/v1/exports?format=openai" \
-H "Authorization: Bearer eyJhbGci..."
""",
    "huggingface": r"""curl "https://dloopiq.onrender.com/api/v1/exports?format=huggingface" \
-H "Authorization: Bearer eyJhbGci..."
""",
    "alpaca": r"""curl "https://dloopiq.onrender.com/api/v1/exports?format=alpaca" \
-H "Authorization: Bearer eyJhbGci..."
""",
    "split": r"""# 80% train, 10% validation, 10% test
curl "https://dloopiq.onrender.com/api/v1/exports?format=jsonl&trainRatio=0.8&valRatio=0.1&testRatio=0.1" \
-H "Authorization: Bearer eyJhbGci..."
""",
}

EXPORT_AND_SAVE = """
import requests
import json
headers = {'Authorization': f'Bearer {JWT}'}
# Export HuggingFace avec split
response = requests.get(
'https://dloopiq.onrender.com/api/v1/exports',
params={
'format': 'huggingface',
'trainRatio': 0.8,
'valRatio': 0.1,
'testRatio': 0.1
},
headers=headers
)
with open('export.zip', 'wb') as f:
    f.write(response.content)
"""
LOAD = """
from datasets import load_dataset
ds = load_dataset('json', data_files={'train': 'train.jsonl', 'test': 'test.jsonl'})
"""


@pytest.fixture
def buyer(served):
    """His token; he has fifty settled tasks."""
    project = make_project("avis")
    user = make_member(project, Role.BUYER, user=make_user("acheteur"))
    source = make_source(project)
    for number in range(50):
        label = ("Positif", "Négatif")[number % 2]
        make_settled_task(project, f"Ce produit n° {number} est « là » !", label=label, source=source, confidence=0.87)
    return served.jwt(user)


def run(command, served, token, folder, **options):
    """Run a command of the contract's page at our address and with our token."""
    command = command.replace(THEIRS, served.url).replace(TOKEN, token)
    shell = ["bash", "-ec", command] if "curl" in command else [sys.executable, "-c", f"JWT = {token!r}\n{command}"]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "NO_PROXY": "*"}
    done = subprocess.run(shell, cwd=folder, env=env, capture_output=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_the_documented_commands_run_as_they_stand(served, buyer, tmp_path):
    out = {name: run(command, served, buyer, tmp_path) for name, command in CURL.items()}
    assert len(json.loads(out["json"])) == 50
    assert list(json.loads(out["json"])[0]) == ["id", "type", "content", "label", "confidence", "locale", "validatedAt"]
    for name in ("jsonl", "openai", "huggingface", "alpaca"):
        assert len([json.loads(line) for line in out[name].splitlines()]) == 50
    saved = (tmp_path / "export.csv").read_text()
    assert saved.startswith("id,type,content,label,confidence,locale,validatedAt\n") and saved.count("\n") == 51
    (tmp_path / "export.zip").write_bytes(out["split"])
    with ZipFile(tmp_path / "export.zip") as opened:
        assert [(name, len(opened.read(name).splitlines())) for name in opened.namelist()] == [
            ("train.jsonl", 40),
            ("val.jsonl", 5),
            ("test.jsonl", 5),
        ]


def test_the_documented_program_saves_a_split_that_datasets_loads(served, buyer, tmp_path):
    run(EXPORT_AND_SAVE, served, buyer, tmp_path)
    with ZipFile(tmp_path / "export.zip") as opened:  # the page leaves the unpacking to its reader
        opened.extractall(tmp_path)
    shown = run(LOAD + "print({name: (len(part), part.features['label_id'].dtype) for name, part in ds.items()})",
                served, buyer, tmp_path)  # fmt: skip
    assert shown.decode().strip().endswith("{'train': (40, 'int64'), 'test': (5, 'int64')}")


def test_a_task_is_ordered_and_followed_over_the_wire(served, buyer):
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {buyer}"
    body = {"type": "SENTIMENT_ANALYSIS", "content": "Génial", "options": ["Positif", "Négatif"], "locale": "fr"}
    made = session.post(f"{served.url}/api/v1/tasks", json=body)
    assert made.status_code == 201
    told = session.get(f"{served.url}{made.headers['Location']}").json()
    assert (told["taskId"], told["status"], told["content"]) == (made.json()["taskId"], "PENDING", "Génial")
    refused = session.post(f"{served.url}/api/v1/tasks", json={})
    assert (refused.status_code, refused.json()["code"]) == (400, "MISSING_FIELDS")
    too_long = session.post(f"{served.url}/api/v1/tasks", json=body | {"content": "x" * 11_000_000})
    assert (too_long.status_code, too_long.json()["code"]) == (413, "BODY_TOO_LARGE")
    assert requests.get(f"{served.url}/api/v1/exports?format=json").json()["code"] == "UNAUTHORIZED"


def test_first_orders_at_the_same_moment_make_one_project(served):
    headers = {"Authorization": f"Bearer {served.jwt(make_user('pressé'))}"}
    body = {"type": "BINARY_CHOICE", "content": "Oui ?", "options": ["Oui", "Non"]}
    answers = at_once(8, lambda _: requests.post(f"{served.url}/api/v1/tasks", json=body, headers=headers).status_code)
    assert answers == [201] * 8
    assert (Project.objects.count(), Task.objects.count()) == (1, 8)


# What breaks off in the middle ----------------------------------------------------------------------------------------


@pytest.fixture
def large(served):
    """The token of a buyer whose export is far larger than what fits between a server and a client that waits."""
    project = make_project("gros")
    source = make_source(project)
    label = project.labels.get(name="Positif")
    verdict = {"status": "COMPLETED", "label": label, "label_name": "Positif", "answer": {"label": "Positif"}}
    Task.objects.bulk_create(
        [
            Task(
                project=project,
                source=source,
                type=project.task_type,
                external_id=str(n),
                content="é" * 4000,
                **verdict,
            )
            for n in range(6000)
        ],
        batch_size=500,
    )
    return served.jwt(make_member(project, Role.BUYER, user=make_user("grossiste")))


@pytest.mark.parametrize("format", ["jsonl", "csv", "json"])
def test_a_file_that_breaks_off_does_not_look_complete(served, large, format):
    """The rows go away under a server that has already said 200: the client must notice."""
    headers = {"Authorization": f"Bearer {large}"}
    url = f"{served.url}/api/v1/exports?format={format}"
    with requests.get(url, headers=headers, stream=True) as answer:
        assert answer.status_code == 200
        chunks = answer.iter_content(65536)
        read = len(next(chunks))
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE samples_task RENAME TO samples_gone")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            for chunk in chunks:
                read += len(chunk)
    assert 0 < read < 6000 * 8000
    wait_until(lambda: "body_broke_off" in served.log())
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE samples_gone RENAME TO samples_task")
    whole = requests.get(url, headers=headers)  # the server goes on, and so does its database
    assert len(whole.content) > 6000 * 8000
    assert requests.get(f"{served.url}/readyz").status_code == 200


def test_what_goes_wrong_before_the_first_page_is_an_error_in_json(served, large):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE samples_task RENAME TO samples_gone")
    headers = {"Authorization": f"Bearer {large}"}
    answer = requests.get(f"{served.url}/api/v1/exports?format=jsonl", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert "samples_gone" not in answer.text and "Traceback" not in answer.text


def test_a_client_that_goes_away_leaves_the_server_working(served, large):
    headers = {"Authorization": f"Bearer {large}"}
    for _ in range(10):  # more than there are threads
        with requests.get(f"{served.url}/api/v1/exports?format=jsonl", headers=headers, stream=True) as answer:
            next(answer.iter_content(1024))
    assert len(requests.get(f"{served.url}/api/v1/exports?format=jsonl", headers=headers, timeout=60).content) > 10**7
