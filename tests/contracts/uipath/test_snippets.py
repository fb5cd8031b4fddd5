"""The page's own curl lines and programs, run as they stand against a server: only the host and what stands in <> is ours."""

import json
import os
import subprocess
import sys

import pytest
import requests

from labelhub.accounts.keys import bearer_of, create_key
from labelhub.accounts.roles import Role
from samples.models import Dataset, Source
from tests.factories import make_member, make_project, make_staff

from .conftest import comment

SENT = {"title": "An Example Dataset", "description": "An optional long form description.", "model_family": "english"}
CURL = {
    "list": r"""curl -X GET 'https://<my_api_endpoint>/api/v1/datasets' \
    -H "Authorization: Bearer $REINFER_TOKEN"
""",
    "show": r"""curl -X GET 'https://<my_api_endpoint>/api/v1/datasets/<project>/example' \
    -H "Authorization: Bearer $REINFER_TOKEN"
""",
    "tags": r"""curl -X GET 'https://<my_api_endpoint>/api/v1/datasets/<project>/model-tags' \
    -H "Authorization: Bearer $REINFER_TOKEN"
""",
    "create": r"""curl -X PUT 'https://<my_api_endpoint>/api/v1/datasets/<project>/example' \
    -H "Authorization: Bearer $REINFER_TOKEN" \
    -H "Content-Type: application/json" \
    -d '{
  "dataset": {
    "description": "An optional long form description.",
    "model_family": "english",
    "source_ids": [
      "18ba5ce699f8da1f"
    ],
    "title": "An Example Dataset"
  }
}'
""",
    "update": r"""curl -X POST 'https://<my_api_endpoint>/api/v1/datasets/<project>/example' \
    -H "Authorization: Bearer $REINFER_TOKEN" \
    -H "Content-Type: application/json" \
    -d '{
  "dataset": {
    "title": "An Alternative Title"
  }
}'
""",
    "delete": r"""curl -X DELETE 'https://<my_api_endpoint>/api/v1/datasets/<project>/example' \
    -H "Authorization: Bearer $REINFER_TOKEN"
""",
    "export": r"""curl -X POST 'https://<my_api_endpoint>/api/v1/datasets/<project>/example/export' \
    -H "Authorization: Bearer $REINFER_TOKEN" \
    -H "Content-Type: application/json" \
    -d '{
  "limit": 1
}'
""",
}
PYTHON = {
    "list": """import json
import os
import requests

response = requests.get(
    "https://<my_api_endpoint>/api/v1/datasets",
    headers={"Authorization": "Bearer " + os.environ["REINFER_TOKEN"]},
)
print(json.dumps(response.json(), indent=2, sort_keys=True))
""",
    "show": """import json
import os
import requests

response = requests.get(
    "https://<my_api_endpoint>/api/v1/datasets/<project>/example",
    headers={"Authorization": "Bearer " + os.environ["REINFER_TOKEN"]},
)
print(json.dumps(response.json(), indent=2, sort_keys=True))
""",
    "tags": """import json
import os
import requests

response = requests.get(
    "https://<my_api_endpoint>/api/v1/datasets/<project>/model-tags",
    headers={"Authorization": "Bearer " + os.environ["REINFER_TOKEN"]},
)
print(json.dumps(response.json(), indent=2, sort_keys=True))
""",
    "create": """import json
import os
import requests

response = requests.put(
    "https://<my_api_endpoint>/api/v1/datasets/<project>/example",
    headers={"Authorization": "Bearer " + os.environ["REINFER_TOKEN"]},
    json={
        "dataset": {
            "title": "An Example Dataset",
            "description": "An optional long form description.",
            "source_ids": ["18ba5ce699f8da1f"],
            "model_family": "english",
        }
    },
)
print(json.dumps(response.json(), indent=2, sort_keys=True))
""",
    "update": """import json
import os
import requests

response = requests.post(
    "https://<my_api_endpoint>/api/v1/datasets/<project>/example",
    headers={"Authorization": "Bearer " + os.environ["REINFER_TOKEN"]},
    json={"dataset": {"title": "An Alternative Title"}},
)
print(json.dumps(response.json(), indent=2, sort_keys=True))
""",
    "delete": """import json
import os
import requests

response = requests.delete(
    "https://<my_api_endpoint>/api/v1/datasets/<project>/example",
    headers={"Authorization": "Bearer " + os.environ["REINFER_TOKEN"]},
)
print(json.dumps(response.json(), indent=2, sort_keys=True))
""",
    "export": """import json
import os
import requests

response = requests.post(
    "https://<my_api_endpoint>/api/v1/datasets/<project>/example/export",
    headers={"Authorization": "Bearer " + os.environ["REINFER_TOKEN"]},
    json={"limit": 1},
)
print(json.dumps(response.json(), indent=2, sort_keys=True))
""",
}


@pytest.fixture
def reader(served):
    """A function: what a snippet of the page prints, with the token of a manager of `bank`."""
    user = make_staff("reader")
    project = make_project("bank", task_type="MULTI_LABEL")
    make_member(project, Role.MANAGER, user=user)
    Source.objects.create(project=project, name="inbox", uid="18ba5ce699f8da1f")
    token = bearer_of(*create_key(user))

    def read(snippet):
        text = snippet.replace("https://<my_api_endpoint>", served.url).replace("<project>", "bank")
        command = ["bash", "-ec", text] if text.startswith("curl") else [sys.executable, "-c", text]
        env = {**os.environ, "REINFER_TOKEN": token, "NO_PROXY": "*"}
        done = subprocess.run(command, env=env, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    read.url, read.token = served.url, token
    return read


def test_every_snippet_of_the_page_works(reader):
    assert {"status": "ok", "model_tags": []} == reader(CURL["tags"]) == reader(PYTHON["tags"])
    for snippets in (CURL, PYTHON):
        assert reader(snippets["list"]) == {"datasets": [], "status": "ok"}
        made = reader(snippets["create"])
        assert made["status"] == "ok"
        expected = SENT | {
            "name": "example",
            "owner": "bank",
            "has_sentiment": True,
            "source_ids": ["18ba5ce699f8da1f"],
        }
        assert made["dataset"] | expected == made["dataset"]
        assert reader(snippets["list"]) == {"datasets": [made["dataset"]], "status": "ok"}
        assert reader(snippets["show"]) == made
        changed = reader(snippets["update"])["dataset"]
        assert changed.pop("last_modified") > made["dataset"].pop("last_modified")
        assert changed == made["dataset"] | {"title": "An Alternative Title"}
        sync = f"{reader.url}/api/v1/sources/bank/inbox/sync"
        headers = {"Authorization": f"Bearer {reader.token}"}
        assert requests.post(sync, json={"comments": [comment(1), comment(2)]}, headers=headers).status_code == 200
        page = reader(snippets["export"])
        assert [row["comment"]["id"] for row in page["comments"]] == ["c1"] and page["continuation"]
        assert reader(snippets["delete"]) == {"status": "ok"}
        assert not Dataset.objects.exists()


def test_whoever_sends_too_much_is_still_told_why(reader):
    """The answer arrives though nobody wanted the body: a connection closed under the sender would be all he saw."""
    key = {"Authorization": f"Bearer {reader.token}"}
    for method, path, headers, status in (
        ("PUT", "/api/v1/datasets/bank/big", key, 413),
        ("PUT", "/api/v1/datasets/bank/big", {}, 401),
        ("POST", "/auth/user", key, 405),
        ("POST", "/api/nothing", key, 404),
    ):
        for megabytes in (11, 40):
            body = b'{"dataset": {"title": "' + b"x" * megabytes * 1_000_000 + b'"}}'
            headers = headers | {"Content-Type": "application/json"}
            answer = requests.request(method, reader.url + path, data=body, headers=headers, timeout=60)
            assert answer.status_code == status
            assert answer.json()["status"] == "error" and answer.json()["message"]
    assert requests.get(f"{reader.url}/readyz").status_code == 200
