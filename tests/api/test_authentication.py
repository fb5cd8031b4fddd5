"""Who may enter: JWTs, access keys, the browser's session; and what happens at the door to the others."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from labelhub.accounts.keys import create_key, revoke_key
from tests.factories import make_staff, make_user


def post(path, body, **options):
    return Client().post(path, body, content_type="application/json", **options)


def tokens_of(user):
    return post("/api/auth/token", {"username": user.username, "password": "secret"}).json()


def enter(token, scheme="Bearer"):
    return Client(headers={"authorization": f"{scheme} {token}"}).get("/auth/user")


def is_refused(answer, status=401):
    told = answer.json()
    assert set(told) >= {"status", "message"} and told["status"] == "error"
    return answer.status_code == status


@pytest.mark.django_db
def test_a_name_and_a_password_give_a_pair_that_opens():
    user = make_user("ann")
    answer = post("/api/auth/token", {"username": "ann", "password": "secret"})
    assert answer.status_code == 200
    pair = answer.json()
    assert pair.keys() == {"status", "access", "refresh"}
    assert enter(pair["access"]).json()["user"]["id"] == user.uid
    assert enter(pair["access"], "bearer").status_code == 200
    assert is_refused(enter(pair["refresh"])), "a refresh token is no access token"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "ann", "password": "wrong"}, 401),
        ({"username": "nobody", "password": "secret"}, 401),
        ({"username": "ann"}, 400),
        ({"username": "", "password": ""}, 400),
        ({"username": "ann", "password": 5.5e300}, 401),
        ({"username": ["ann"], "password": "secret"}, 400),
        ({"username": "x" * 151, "password": "secret"}, 400),
        ([], 400),
    ],
    ids=str,
)
def test_anything_else_gives_none(body, status):
    make_user("ann")
    answer = post("/api/auth/token", body)
    assert is_refused(answer, status)
    assert answer.json().keys() == {"status", "code", "message", "details"}


@pytest.mark.django_db
def test_a_refresh_token_works_once():
    user = make_user()
    first = tokens_of(user)["refresh"]
    second = post("/api/auth/token/refresh", {"refresh": first}).json()
    assert enter(second["access"]).status_code == 200
    assert is_refused(post("/api/auth/token/refresh", {"refresh": first}))
    third = post("/api/auth/refresh", {"refresh": second["refresh"]})
    assert third.status_code == 200, "the new one works, at the other address too"


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["", "x", "a.b.c", 5, None, "x" * 9000])
def test_what_is_no_refresh_token_is_refused(token):
    answer = post("/api/auth/token/refresh", {"refresh": token})
    assert answer.status_code in (400, 401) and is_refused(answer, answer.status_code)


@pytest.mark.django_db
def test_an_access_token_renews_nothing():
    assert is_refused(post("/api/auth/token/refresh", {"refresh": tokens_of(make_user())["access"]}))


@pytest.mark.django_db
def test_a_new_password_a_closed_account_or_a_deleted_one_voids_every_token():
    changed, closed, gone = make_user(), make_user(), make_user()
    pairs = [tokens_of(user) for user in (changed, closed, gone)]
    changed.set_password("another")
    changed.save()
    closed.is_active = False
    closed.save()
    gone.delete()
    for pair in pairs:
        assert is_refused(enter(pair["access"]))
        assert is_refused(post("/api/auth/token/refresh", {"refresh": pair["refresh"]}))


@pytest.mark.django_db
def test_an_expired_or_altered_jwt_is_refused():
    user = make_user()
    expired = AccessToken.for_user(user)
    expired.set_exp(lifetime=timedelta(seconds=-1))
    assert is_refused(enter(expired))
    good = str(RefreshToken.for_user(user).access_token)
    head, claims, signature = good.split(".")
    assert is_refused(enter(f"{head}.{claims}.{signature[:-2]}AA"))
    assert is_refused(enter(f"{head}.{claims}x.{signature}"))
    assert is_refused(enter(f"{head}.{claims}."))


@pytest.mark.django_db
def test_an_access_key_is_a_bearer_token_and_its_use_is_noted():
    user = make_user()
    key, secret = create_key(user)
    assert enter(f"{key.key_id}.{secret}").json()["user"]["username"] == user.username
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert is_refused(enter(f"{key.key_id}.{secret[:-1]}"))
    assert is_refused(enter(f"{key.key_id}."))
    assert is_refused(enter(f".{secret}"))
    revoke_key(key, by=user)
    assert is_refused(enter(f"{key.key_id}.{secret}"))


@pytest.mark.django_db
def test_an_expired_key_or_one_of_a_closed_account_is_refused():
    user = make_user()
    old, secret = create_key(user, expires_at=timezone.now() - timedelta(seconds=1))
    assert is_refused(enter(f"{old.key_id}.{secret}"))
    key, secret = create_key(user)
    user.is_active = False
    user.save()
    assert is_refused(enter(f"{key.key_id}.{secret}"))


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "Bearer a b c", "Bearer  "])
def test_a_header_without_a_token_is_401_and_says_what_is_wanted(header):
    answer = Client(headers={"authorization": header}).get("/auth/user")
    assert is_refused(answer)
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.django_db
def test_the_browser_s_session_enters_but_changes_only_with_its_csrf_token():
    user = make_staff()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert browser.get("/auth/user").json()["user"]["id"] == user.uid
    answer = browser.put("/api/_private/projects/p", {"project": {}}, content_type="application/json")
    assert is_refused(answer, 403)


@pytest.mark.django_db
def test_too_many_failures_are_429_in_json_and_say_when_to_come_back(settings):
    settings.AXES_FAILURE_LIMIT = 3
    make_user("ann")
    wrong = {"username": "ann", "password": "wrong"}
    codes = [post("/api/auth/token", wrong).status_code for _ in range(4)]
    assert codes[0] == 401 and codes[-1] == 429
    answer = post("/api/auth/token", {"username": "ann", "password": "secret"})
    assert is_refused(answer, 429), "the right password does not help now"
    assert 0 < int(answer["Retry-After"]) <= 900
    make_user("ben")
    assert tokens_of_name("ben") == 200, "others are not kept out"


def tokens_of_name(name):
    return post("/api/auth/token", {"username": name, "password": "secret"}).status_code


@pytest.mark.django_db
def test_the_door_speaks_json_whatever_comes():
    assert is_refused(Client().get("/api/auth/token"), 405)
    assert is_refused(Client().post("/api/auth/token", "x", content_type="text/plain"), 415)
    assert is_refused(Client().post("/api/auth/token", "{", content_type="application/json"), 400)
    body = b'{"username": "' + b"x" * 11_000_000 + b'"}'
    assert is_refused(Client().post("/api/auth/token", body, content_type="application/json"), 413)


def test_a_body_in_chunks_is_refused_rather_than_taken_for_an_empty_one():
    answer = Client().post(
        "/api/auth/token",
        {},
        content_type="application/json",
        headers={"transfer-encoding": "chunked"},
        CONTENT_LENGTH="",
    )
    assert is_refused(answer, 400)
    assert "Content-Length" in answer.json()["message"]
