"""The admin of curation: who finds what, and each page's way through the flow."""

import io
import json
import re
import threading

import pytest
from django.contrib import admin
from django.urls import reverse

from labelhub import long_lists
from labelhub.accounts.models import AccessKey
from labelhub.accounts.roles import Role
from labelhub.jobs.models import Job
from labelhub.jobs.worker import work
from samples.models import Annotation, Label, Membership, Project, Sample, Source, Task
from tests.factories import (
    make_annotation,
    make_member,
    make_project,
    make_sample,
    make_staff,
    make_superuser,
    make_task,
    make_user,
)
from tests.world import fill

pytestmark = pytest.mark.django_db

MARK = "quokka"


def address(model, page, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def text_of(answer):
    return answer.content.decode()


def said(answer):
    """The messages on the page an answer leads to."""
    return [str(message) for message in answer.context["messages"]]


@pytest.fixture
def elsewhere():
    """A project of other people, full of rows marked as theirs."""
    project = make_project(f"{MARK}-project", title=f"{MARK} title")
    fill(project, 2, marker=MARK, owner=make_staff(f"{MARK}owner"))
    return project


@pytest.fixture
def here():
    project = make_project("here")
    fill(project, 1)
    return project


def words_of(answer):
    """What a reader sees: without the tags."""
    return re.sub(r"<[^>]+>", "", text_of(answer))


def log_in(client, project, role):
    user = make_member(project, role)
    client.force_login(user)
    return user


# Who finds what -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
def test_a_member_finds_nothing_of_another_project(client, elsewhere, here, role):
    log_in(client, here, role)
    for model in admin.site._registry:
        listed = client.get(address(model, "changelist"))
        assert listed.status_code in (200, 404), model
        assert MARK not in text_of(listed), model
        theirs = model._default_manager.order_by("pk").first()  # made before anything here
        for page in ("change", "delete", "history"):
            assert client.get(address(model, page, theirs.pk)).status_code == 404, (model, page)


@pytest.mark.parametrize("role", [Role.MANAGER, Role.BUYER])
def test_the_pages_of_another_project_are_not_there(client, here, elsewhere, role):
    log_in(client, here, role)
    for page in ("annotate", "review", "import_tasks", "export_project"):
        for method in (client.get, client.post):
            assert method(reverse(page, args=[elsewhere.name])).status_code == 404
    task, batch = elsewhere.tasks.first(), elsewhere.batches.first()
    assert client.get(reverse("task_media", args=[task.pk])).status_code == 404
    assert client.get(reverse("finetune", args=[batch.pk])).status_code == 404
    for button in ("download", "manifest", "cancel", "retry", "finetune"):
        assert client.get(f"/admin/exports/batch/{batch.pk}/{button}/").status_code == 404
    assert client.get(reverse("admin:jobs_job_state", args=[batch.job.pk])).status_code == 404


def test_look_ups_by_typing_offer_only_ones_own(client, here, elsewhere):
    log_in(client, here, Role.MANAGER)
    asked = 0
    for model in admin.site._registry:
        for field in model._meta.get_fields():
            if not (field.many_to_one or field.many_to_many) or not field.concrete:
                continue
            where = {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": field.name}
            answer = client.get(reverse("admin:autocomplete"), {**where, "term": ""})
            assert answer.status_code in (200, 403), (model, field)
            assert MARK not in text_of(answer), (model, field)
            asked += answer.status_code == 200
    assert asked > 8


def test_a_filter_in_the_address_names_nothing_of_another_project(client, here, elsewhere):
    log_in(client, here, Role.MANAGER)
    label = Label.objects.filter(project=elsewhere, name__startswith=MARK).first()
    for query in (f"project__id__exact={elsewhere.pk}", f"label__id__exact={label.pk}", f"q={MARK}"):
        for model in (Task, Sample):
            page = re.sub(
                r'value="[^"]*"|href="[^"]*"', "", text_of(client.get(f"{address(model, 'changelist')}?{query}"))
            )
            assert MARK not in page


def test_actions_leave_another_project_s_rows_alone(client, here, elsewhere):
    log_in(client, here, Role.MANAGER)
    theirs = make_sample(elsewhere, status="PENDING")
    client.post(address(Sample, "changelist"), {"action": "approve", "_selected_action": [theirs.pk]})
    theirs.refresh_from_db()
    assert theirs.status == "PENDING"


def test_a_form_refuses_a_project_where_one_has_no_say(client, here, elsewhere):
    user = log_in(client, here, Role.MANAGER)
    looked_at = make_project("looked-at")
    Membership.objects.create(project=looked_at, user=user, role=Role.VIEWER)
    for project in (elsewhere, looked_at):
        answer = client.post(address(Source, "add"), {"project": project.pk, "name": "mail"})
        assert "Select a valid choice" in text_of(answer)
    assert client.post(address(Source, "add"), {"project": here.pk, "name": "mail"}).status_code == 302
    assert here.sources.filter(name="mail").exists()


def test_staff_without_a_project_see_an_inviting_dashboard_and_no_lists(client, elsewhere):
    client.force_login(make_staff())
    home = client.get(reverse("admin:index"))
    assert "Create a project" in text_of(home) and MARK not in text_of(home)
    assert client.get(address(Task, "changelist")).status_code == 404
    assert "/admin/samples/task/" not in text_of(home)


def test_those_who_are_not_staff_are_sent_to_the_log_in(client, here):
    client.force_login(make_user())
    for page in (reverse("admin:index"), reverse("annotate", args=[here.name]), address(Task, "changelist")):
        answer = client.get(page)
        assert answer.status_code == 302 and "/admin/login/" in answer["Location"]


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        (Role.MANAGER, {"approve", "reject", "reopen", "export_selected"}),
        (Role.REVIEWER, {"approve", "reject", "reopen"}),
        (Role.BUYER, {"export_selected"}),
        (Role.VIEWER, set()),
    ],
)
def test_an_action_is_offered_only_to_those_who_may(client, here, role, offered):
    log_in(client, here, role)
    page = text_of(client.get(address(Sample, "changelist")))
    found = {name for name in ("approve", "reject", "reopen", "export_selected") if f'value="{name}"' in page}
    assert found == offered


def test_the_dashboard_costs_the_same_with_much_to_show(client, here, django_assert_max_num_queries):
    client.force_login(make_superuser())
    with django_assert_max_num_queries(16) as few:
        client.get(reverse("admin:index"))
    fill(here, 20)
    make_project("another")
    with django_assert_max_num_queries(16) as many:
        client.get(reverse("admin:index"))
    assert len(few) == len(many)


# Projects -------------------------------------------------------------------------------------------------------------


def project_form(**fields):
    return {
        "name": "reviews", "title": "", "task_type": "SENTIMENT_ANALYSIS", "locale": "fr", "new_labels": "",
        "description": "", "guidelines": "", "validations_needed": 2, "consensus_rule": "majority",
        "consensus_threshold": 0.5, "task_order": "age", "random_share": 0.2, "shows_suggestions": "on",
        "prompts": "{}", **fields,
    }  # fmt: skip


def test_who_makes_a_project_manages_it_and_gets_the_usual_labels(client):
    user = make_staff()
    client.force_login(user)
    answer = client.post(address(Project, "add"), project_form())
    project = Project.objects.get(name="reviews")
    assert answer["Location"] == address(Project, "change", project.pk)
    assert project.role_of(user) == Role.MANAGER and project.validations_needed == 2
    assert list(project.labels.values_list("name", "position")) == [("Positif", 0), ("Négatif", 1)]


def test_labels_are_given_one_a_line(client):
    client.force_login(make_superuser())
    client.post(address(Project, "add"), project_form(task_type="TEXT_CLASSIFICATION", new_labels="a\n b \n\nc > d"))
    assert list(Project.objects.get().labels.values_list("name", flat=True)) == ["a", "b", "c > d"]
    refused = client.post(address(Project, "add"), project_form(name="p", task_type="PREFERENCE", new_labels="a"))
    assert "have no labels" in text_of(refused)


def change_form(project, labels, **fields):
    """The project's form as its page sends it; `labels` in the order they were dragged to."""
    form = project_form(**fields)
    members = list(project.memberships.select_related("user"))
    form |= {"labels-TOTAL_FORMS": len(labels), "labels-INITIAL_FORMS": len(labels)}
    form |= {"memberships-TOTAL_FORMS": len(members), "memberships-INITIAL_FORMS": len(members)}
    for number, (label, changes) in enumerate(labels):
        row = {"id": label.pk, "project": project.pk, "name": label.name, "colour": label.colour, "place": number}
        form |= {f"labels-{number}-{name}": value for name, value in {**row, **changes}.items()}
    for number, member in enumerate(members):
        row = {"id": member.pk, "project": project.pk, "user": member.user.username, "role": member.role}
        form |= {f"memberships-{number}-{name}": value for name, value in row.items()}
    return form


def test_labels_are_dragged_renamed_and_removed_while_nothing_uses_them(client):
    project = make_project(labels=("a", "b", "c"))
    log_in(client, project, Role.MANAGER)
    a, b, c = project.labels.all()
    dragged = [(c, {"place": 0}), (a, {"place": 1, "name": "A"}), (b, {"place": 2, "DELETE": "on"})]
    answer = client.post(address(Project, "change", project.pk), change_form(project, dragged, new_labels="d"))
    assert answer.status_code == 302, answer.context["errors"]
    assert list(project.labels.values_list("name", "position")) == [("c", 0), ("A", 1), ("d", 2)]


@pytest.mark.parametrize("change", [{"DELETE": "on"}, {"name": "other"}, {"place": 5}])
def test_a_label_in_use_stays_where_and_what_it_is(client, change):
    project = make_project(labels=("a", "b"))
    make_sample(project, label="a")
    log_in(client, project, Role.MANAGER)
    labels = [(label, change if label.name == "a" else {}) for label in project.labels.all()]
    answer = client.post(address(Project, "change", project.pk), change_form(project, labels))
    assert answer.status_code == 200 and "is in use" in text_of(answer)
    assert list(project.labels.values_list("name", "position")) == [("a", 0), ("b", 1)]


def test_members_are_added_by_their_log_in_name(client):
    project = make_project()
    log_in(client, project, Role.MANAGER)
    make_staff("amelie")
    form = change_form(project, [(label, {}) for label in project.labels.all()])
    form |= {"memberships-TOTAL_FORMS": 2, "memberships-1-project": project.pk, "memberships-1-role": "reviewer"}
    assert "no such user" in text_of(
        client.post(address(Project, "change", project.pk), form | {"memberships-1-user": "x"})
    )
    client.post(address(Project, "change", project.pk), form | {"memberships-1-user": "amelie"})
    assert project.memberships.get(user__username="amelie").role == Role.REVIEWER


def test_only_a_manager_changes_a_project(client, here):
    log_in(client, here, Role.REVIEWER)
    page = text_of(client.get(address(Project, "change", here.pk)))
    assert 'name="title"' not in page and 'name="labels-0-name"' not in page
    assert client.post(address(Project, "change", here.pk), project_form(title="mine")).status_code == 403


def test_agreement_is_worked_out_when_asked(client):
    project = make_project()
    log_in(client, project, Role.VIEWER)
    for label in ("Positif", "Négatif"):
        task = make_task(project)
        make_annotation(task, label=label), make_annotation(task, label=label)
    page = address(Project, "change", project.pk)
    assert "Work it out" in text_of(client.get(page))
    assert "1.000" in text_of(client.get(f"{page}?agreement=1"))


# Access keys ----------------------------------------------------------------------------------------------------------


def test_a_new_key_shows_its_secret_once(client):
    user = make_staff()
    client.force_login(user)
    shown = client.post(address(AccessKey, "add"), {"name": "laptop", "expires_at_0": "", "expires_at_1": ""})
    key = AccessKey.objects.get()
    assert key.user == user and key.secret in text_of(shown) and "no-store" in shown["Cache-Control"]
    for page in (address(AccessKey, "changelist"), address(AccessKey, "change", key.pk)):
        assert key.key_id in text_of(client.get(page))
        assert key.secret not in text_of(client.get(page))
    client.post(address(AccessKey, "changelist"), {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at


def test_keys_users_and_the_audit_trail_are_nobody_else_s(client, elsewhere):
    client.force_login(make_staff())
    theirs = AccessKey.objects.first()
    assert client.get(address(AccessKey, "change", theirs.pk)).status_code == 404
    assert theirs.key_id not in text_of(client.get(address(AccessKey, "changelist")))
    client.post(address(AccessKey, "changelist"), {"action": "revoke", "_selected_action": [theirs.pk]})
    theirs.refresh_from_db()
    assert theirs.revoked_at is None
    for name in ("accounts_user", "accounts_auditentry", "auth_group", "axes_accesslog"):
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == 404


# Import ---------------------------------------------------------------------------------------------------------------

CSV = b"text,label,stars\nSuperbe,Positif,5\nNul,N\xc3\xa9gatif,1\nMoyen,,3\n"


def upload(client, project, content, name="reviews.csv"):
    file = io.BytesIO(content)
    file.name = name
    return client.post(reverse("import_tasks", args=[project.name]), {"file": file}, follow=True)


def choices(**fields):
    return {"source": "import", "labels_as": "verdict", "on_error": "stop", "annotator": "", **fields}


def test_a_file_is_looked_at_and_imported(client):
    project = make_project()
    log_in(client, project, Role.BUYER)
    looked_at = upload(client, project, CSV)
    assert "Superbe" in text_of(looked_at) and '<option value="stars">' in text_of(looked_at)
    done = client.post(looked_at.request["PATH_INFO"] + "?" + looked_at.request["QUERY_STRING"], choices(), follow=True)
    assert done.context["result"]["created"] == 3
    assert project.samples.count() == 2 and project.tasks.open().count() == 1
    assert project.tasks.get(content="Nul").metadata == {"stars": "1"}


def test_a_bad_row_stops_the_import_or_is_left_out_and_named(client):
    project = make_project()
    log_in(client, project, Role.BUYER)
    looked_at = upload(client, project, CSV + b" ,Positif,2\n")
    here = looked_at.request["PATH_INFO"] + "?" + looked_at.request["QUERY_STRING"]
    stopped = client.post(here, choices())
    assert "Nothing was imported" in text_of(stopped) and "line 5" in text_of(stopped)
    assert not project.tasks.exists()
    done = client.post(here, choices(on_error="skip"), follow=True)
    assert done.context["result"]["skipped"] == 1
    assert re.search(r"<td>5</td><td>content</td><td>the content is empty", text_of(done))


def test_labels_may_be_somebody_s_answers(client):
    project = make_project()
    log_in(client, project, Role.MANAGER)
    amelie = make_member(project, Role.ANNOTATOR, user=make_staff("amelie"))
    looked_at = upload(client, project, CSV)
    here = looked_at.request["PATH_INFO"] + "?" + looked_at.request["QUERY_STRING"]
    assert "Name a member" in text_of(client.post(here, choices(labels_as="annotations", annotator="nobody")))
    client.post(here, choices(labels_as="annotations", annotator="amelie", column_content="text"))
    assert Annotation.objects.filter(annotator=amelie).count() == 2


@pytest.mark.parametrize(("content", "why"), [(b"", "empty"), (b"\x89PNG\r\n\x1a\n0000", "PNG image")])
def test_a_file_that_cannot_be_read_says_why(client, content, why):
    project = make_project()
    log_in(client, project, Role.BUYER)
    assert why in text_of(upload(client, project, content))
    assert not project.tasks.exists()


def test_another_visitor_s_upload_is_not_there(client):
    project = make_project()
    log_in(client, project, Role.BUYER)
    looked_at = upload(client, project, CSV)
    here = looked_at.request["PATH_INFO"] + "?" + looked_at.request["QUERY_STRING"]
    log_in(client, project, Role.MANAGER)
    client.logout()
    log_in(client, project, Role.MANAGER)
    assert client.get(here).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_large_file_is_imported_by_a_job(client):
    project = make_project()
    log_in(client, project, Role.BUYER)
    rows = b"".join(b'{"text": "%d %s"}\n' % (number, b"a" * 100_000) for number in range(55))
    looked_at = upload(client, project, rows, "long.jsonl")
    here = looked_at.request["PATH_INFO"] + "?" + looked_at.request["QUERY_STRING"]
    waiting = client.post(here, choices(), follow=True)
    assert "data-poll" in text_of(waiting) and not project.tasks.exists()
    work(threading.Event(), until_empty=True)
    job = Job.objects.get(kind="samples.import_file")
    assert job.state == Job.State.DONE, job.error
    state = json.loads(client.get(reverse("admin:jobs_job_state", args=[job.pk])).content)
    assert state["finished"] and state["progress"] == 100
    done = client.get(waiting.request["PATH_INFO"] + "?" + waiting.request["QUERY_STRING"])
    assert done.context["result"]["created"] == 55 == project.tasks.count()


# Annotate -------------------------------------------------------------------------------------------------------------


def test_one_item_after_the_other_until_nothing_is_left(client):
    project = make_project(validations_needed=1)
    user = log_in(client, project, Role.ANNOTATOR)
    first, second = make_task(project, "Un"), make_task(project, "Deux")
    page = reverse("annotate", args=[project.name])
    shown = client.get(page)
    assert shown.context["task"] == first and shown.context["left"] == 2
    after = client.post(page, {"task": first.pk, "choice": "1", "lead_time_ms": "1500", "save": "1"}, follow=True)
    given = Annotation.objects.get(annotator=user)
    assert (given.answer, given.lead_time_ms) == ({"label": "Négatif"}, 1500)
    assert after.context["task"] == second and (after.context["done"], after.context["left"]) == (1, 1)
    end = client.post(page, {"task": second.pk, "choice": "0"}, follow=True)
    assert "Thank you" in text_of(end)
    assert project.samples.pending().count() == 2


def test_what_is_too_much_to_count_is_not_counted_while_one_annotates(client, monkeypatch):
    monkeypatch.setattr(long_lists, "MOST", 3)
    project = make_project(validations_needed=2)
    user = log_in(client, project, Role.ANNOTATOR)
    page = reverse("annotate", args=[project.name])
    tasks = [make_task(project) for _ in range(5)]
    make_annotation(tasks[0], user)
    shown = client.get(page)
    assert (shown.context["done"], str(shown.context["left"])) == (1, "more than 3")
    assert "1 done, more than 3 open" in words_of(shown) and "hub-bar" not in shown.content.decode()
    for task in tasks[1:3]:
        make_annotation(task, user)
    Task.objects.filter(pk=tasks[1].pk).update(status="COMPLETED", answer={"label": "Positif"})
    Task.objects.filter(pk=tasks[2].pk).update(status="COMPLETED", answer={"label": "Positif"})
    shown = client.get(page)
    assert (shown.context["done"], shown.context["left"], shown.context["percent"]) == (3, 2, 60)
    assert "3 of 5 done, 2 left for you" in words_of(shown)
    make_annotation(tasks[3], user)
    shown = client.get(page)
    assert (str(shown.context["done"]), shown.context["left"], shown.context["percent"]) == ("more than 3", 1, 75)
    assert "more than 3 done, 1 left for you" in words_of(shown)


def test_two_people_are_not_shown_the_same_item_where_one_answer_is_enough(client):
    project = make_project(validations_needed=1)
    page = reverse("annotate", args=[project.name])
    first, second = make_task(project, "Un"), make_task(project, "Deux")
    for expected in (first, second, None):
        log_in(client, project, Role.ANNOTATOR)
        shown = client.get(page)
        assert shown.context["task"] == expected
        assert client.get(page).context["task"] == expected, "the same again for who comes back"
    assert "with others at the moment" in text_of(shown)


def test_what_was_skipped_comes_again_when_asked(client):
    project = make_project()
    log_in(client, project, Role.ANNOTATOR)
    task = make_task(project)
    page = reverse("annotate", args=[project.name])
    skipped = client.post(page, {"task": task.pk, "skip": "1"}, follow=True)
    assert skipped.context["task"] is None and "Only what you skipped" in text_of(skipped)
    assert client.get(f"{page}?again=1", follow=True).context["task"] == task


def test_an_answer_that_is_none_is_not_saved(client):
    project = make_project()
    log_in(client, project, Role.ANNOTATOR)
    task = make_task(project)
    answer = client.post(reverse("annotate", args=[project.name]), {"task": task.pk, "save": "1"}, follow=True)
    assert answer.context["task"] == task
    assert "Not saved" in said(answer)[0]
    assert not task.annotations.exists()


@pytest.mark.parametrize(
    ("task_type", "options", "reply", "answer"),
    [
        ("MULTI_LABEL", None, {"choice": ["1", "0"]}, {"labels": ["Positif", "Négatif"]}),
        ("TEXT_GENERATION", None, {"text": "Bonjour"}, {"text": "Bonjour"}),
        ("PREFERENCE", ["oui", "non"], {"choice": "1"}, {"chosen": "non", "rejected": "oui"}),
        ("BINARY_CHOICE", ["chat", "chien"], {"choice": "0"}, {"label": "chat"}),
    ],
)
def test_each_task_type_asks_in_its_own_way(client, task_type, options, reply, answer):
    has_labels = task_type in ("MULTI_LABEL", "BINARY_CHOICE")
    project = make_project(task_type=task_type, labels=("Positif", "Négatif") if has_labels else ())
    log_in(client, project, Role.ANNOTATOR)
    task = make_task(project, options=options)
    page = reverse("annotate", args=[project.name])
    assert client.get(page).status_code == 200
    client.post(page, {"task": task.pk, **reply})
    assert task.annotations.get().answer == answer
    again = client.get(f"{page}?task={task.pk}")
    assert "checked" in text_of(again) or "Bonjour" in text_of(again)


def test_a_picture_is_shown_to_those_who_may_see_the_task(client, tmp_path):
    from django.core.files.base import ContentFile

    project = make_project(task_type="IMAGE_CLASSIFICATION", labels=("chat",))
    log_in(client, project, Role.ANNOTATOR)
    task = make_task(project, "chat.png")
    task.media.save("chat.png", ContentFile(b"\x89PNG"))
    assert reverse("task_media", args=[task.pk]) in text_of(client.get(reverse("annotate", args=[project.name])))
    picture = client.get(reverse("task_media", args=[task.pk]))
    assert picture["Content-Type"] == "image/png" and picture.getvalue() == b"\x89PNG"
    task.media.save("page.svg", ContentFile(b"<svg/>"))
    assert "attachment" in client.get(reverse("task_media", args=[task.pk]))["Content-Disposition"]


# Review ---------------------------------------------------------------------------------------------------------------


def act(client, project, **fields):
    return client.post(reverse("review", args=[project.name]), fields, follow=True)


def test_the_queue_shows_who_said_what_and_takes_each_step(client):
    project = make_project()
    log_in(client, project, Role.REVIEWER)
    one, two, three = (make_sample(project, text, status="PENDING") for text in ("Un", "Deux", "Trois"))
    make_annotation(one.task, make_user("amelie"), label="Positif")
    assert "amelie" in text_of(client.get(reverse("review", args=[project.name])))
    act(client, project, sample=one.pk, do="approve")
    assert "reason" in said(act(client, project, sample=two.pk, do="reject", reason=" "))[0]
    act(client, project, sample=two.pk, do="reject", reason="unclear")
    act(client, project, sample=three.pk, do="correct", choice="1")
    states = {sample.content: (sample.status, sample.label_name) for sample in project.samples.all()}
    assert states == {"Un": ("APPROVED", "Positif"), "Deux": ("REJECTED", "Positif"), "Trois": ("PENDING", "Négatif")}
    act(client, project, sample=two.pk, do="reopen")
    act(client, project, do="approve_page", ids=[two.pk, three.pk])
    assert project.samples.approved().count() == 3


def test_disagreements_come_first_and_are_decided(client):
    project = make_project()
    log_in(client, project, Role.REVIEWER)
    task = make_task(project, "Bof", status="FAILED", vote_shares={"Positif": 0.5, "Négatif": 0.5})
    make_annotation(task, label="Positif"), make_annotation(task, label="Négatif")
    make_sample(project, status="PENDING")
    shown = client.get(reverse("review", args=[project.name]))
    assert shown.context["shown"] == "disagreements" and "Bof" in text_of(shown)
    act(client, project, task=task.pk, do="decide", choice="1")
    assert Sample.objects.get(task=task).label_name == "Négatif"


def test_nobody_approves_what_only_they_answered(client):
    project = make_project()
    user = log_in(client, project, Role.REVIEWER)
    sample = make_sample(project, status="PENDING")
    make_annotation(sample.task, user)
    assert "somebody else must approve" in said(act(client, project, sample=sample.pk, do="approve"))[0]
    answer = client.post(
        address(Sample, "changelist"), {"action": "approve", "_selected_action": [sample.pk]}, follow=True
    )
    assert said(answer) == ["Approved: 0. Left as they were: 1 (1 answered by you alone)."]


def test_bulk_steps_say_in_one_message_what_they_did(client):
    project = make_project()
    log_in(client, project, Role.MANAGER)
    pending = [make_sample(project, status="PENDING") for _ in range(3)]
    approved = make_sample(project)
    chosen = [row.pk for row in (*pending, approved)]
    where = address(Sample, "changelist")
    asked = client.post(where, {"action": "reject", "_selected_action": chosen})
    assert 'name="reason"' in text_of(asked) and "Selected: 4" in text_of(asked)
    data = {"action": "reject", "_selected_action": chosen, "apply": "1"}
    assert "This field is required" in text_of(client.post(where, data))
    done = client.post(where, data | {"reason": "spam"}, follow=True)
    assert said(done) == ["Rejected: 3. Left as they were: 1 (1 in another state)."]
    assert project.samples.filter(reason="spam").count() == 3


def test_select_all_reaches_beyond_the_page_and_keeps_to_the_filter(client):
    project, other = make_project(), make_project("other")
    client.force_login(make_superuser())
    for target in (project, other):
        for _ in range(4):
            make_sample(target, status="PENDING")
    one = project.samples.first()
    where = f"{address(Sample, 'changelist')}?project__id__exact={project.pk}"
    client.post(where, {"action": "approve", "_selected_action": [one.pk], "select_across": "1"})
    assert (project.samples.approved().count(), other.samples.approved().count()) == (4, 0)


def test_the_way_back_stays_on_this_site(client):
    project = make_project()
    log_in(client, project, Role.REVIEWER)
    sample = make_sample(project, status="PENDING")
    answer = client.post(
        reverse("review", args=[project.name]), {"sample": sample.pk, "do": "approve", "back": "https://evil.example/"}
    )
    assert answer["Location"] == reverse("review", args=[project.name])
