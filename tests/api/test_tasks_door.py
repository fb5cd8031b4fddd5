"""Which of two rooms a POST to /api/v1/tasks is for."""

import json

import pytest
from django.http import JsonResponse
from django.test import RequestFactory
from rest_framework.response import Response
from rest_framework.views import APIView

from labelhub.api.tasks_door import by_body


class Listening(APIView):
    """A room as DRF makes one: it reads the body again."""

    authentication_classes = permission_classes = ()
    name = ""

    def post(self, request):
        return Response({"room": self.name, "body": request.data})

    def get(self, request):
        return Response({"room": self.name})


door = by_body(native=Listening.as_view(name="native"), dloopiq=Listening.as_view(name="dloopiq"))


def room_of(method, data=b""):
    answer = door(RequestFactory().generic(method, "/api/v1/tasks", data, content_type="application/json"))
    if not isinstance(answer, JsonResponse):
        answer.render()
    return json.loads(answer.content)


@pytest.mark.parametrize(
    ("body", "room"),
    [
        ({"type": "BINARY_CHOICE", "content": "x", "options": ["a", "b"]}, "dloopiq"),
        ({"type": "BINARY_CHOICE", "content": "x", "options": ["a", "b"], "projectId": "p"}, "dloopiq"),
        ({}, "dloopiq"),
        ("project", "dloopiq"),
        ({"project": "p", "content": "x"}, "native"),
        ({"project": "p", "type": "BINARY_CHOICE", "content": "x", "options": ["a", "b"]}, "native"),
        ([{"project": "p", "content": "x"}], "dloopiq"),
    ],
)
def test_a_body_that_names_its_project_is_for_our_own_api(body, room):
    assert room_of("POST", json.dumps(body).encode()) == {"room": room, "body": body}


def test_other_methods_are_for_our_own_api():
    assert room_of("GET")["room"] == "native"


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused_by_the_room_not_by_the_door(body):
    assert room_of("POST", body)["detail"].startswith("The body is n")


def test_an_empty_body_is_for_the_room_that_says_what_is_missing():
    assert room_of("POST") == {"room": "dloopiq", "body": {}}


def test_a_body_that_is_too_large_is_not_read_by_the_door():
    body = json.dumps({"project": "x" * 11 * 1024 * 1024}).encode()
    assert "larger than" in room_of("POST", body)["detail"]
