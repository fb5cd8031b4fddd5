"""The house keeps its own rules."""

import re
from io import StringIO
from pathlib import Path

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.urls import reverse

from tests.factories import make_project, make_superuser
from tests.world import fill

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration():
    call_command("makemigrations", check=True, dry_run=True, stdout=StringIO())


def test_the_settings_pass_django_s_own_check():
    call_command("check", fail_level="WARNING")


def test_every_environment_variable_is_named_in_the_example():
    settings = (ROOT / "labelhub" / "settings.py").read_text()
    read = set(re.findall(r'(?:env\.\w+|secret)\(\s*"([A-Z0-9_]+)"', settings))
    named = set(re.findall(r"^#?\s?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert read - named == set(), "read in settings.py, but not in .env.example"
    assert named - read == set(), "in .env.example, but nobody reads it"
    assert len(read) > 20


def test_every_command_of_the_design_is_there():
    from django.core.management import get_commands

    commands = {name for name, app in get_commands().items() if not app.startswith("django.")}
    assert commands >= {
        "import_tasks",
        "export_samples",
        "create_access_key",
        "finetune",
        "refresh_finetunes",
        "serve",
        "worker",
        "generate_samples",
        "demo",
    }


def test_every_module_says_what_it_is():
    silent = [
        str(path.relative_to(ROOT))
        for app in ("labelhub", "samples", "exports", "tests")
        for path in (ROOT / app).rglob("*.py")
        if "migrations" not in path.parts
        and (source := path.read_text()).strip()
        and not source.lstrip().startswith(('"""', 'r"""'))
    ]
    assert silent == []


# The admin ------------------------------------------------------------------------------------------------------------

# Rows of two keys, shown as the labels of an answer or a verdict; what is shown on the page of its task or batch; what
# the search for near-duplicates looks up; who holds a task for some minutes; what the API remembers of a request.
INSIDE = {"TaskLabel", "AnnotationLabel", "DuplicateBand", "ClusterMember", "TextStatistics", "BatchTasks", "Shard"}
INSIDE |= {"KeptSide", "Assignment", "IdempotencyKey", "StatusCount"}
MOST_QUERIES = 14


def address(model, page, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def test_every_model_has_a_place_in_the_admin():
    from django.apps import apps

    ours = {
        model
        for app in ("accounts", "jobs", "samples", "exports")
        for model in apps.get_app_config(app).get_models()
        if model.__name__ not in INSIDE
    }
    assert ours - set(admin.site._registry) == set()
    from unfold.admin import ModelAdmin

    plain = [model.__name__ for model, its in admin.site._registry.items() if not isinstance(its, ModelAdmin)]
    assert plain == [], "registered by their own apps, without Unfold's pages"


@pytest.mark.django_db
def test_lists_cost_the_same_however_long_they_are(client, django_assert_max_num_queries):
    boss = make_superuser()
    client.force_login(boss)
    project = make_project()

    def costs():
        found = {}
        for model in admin.site._registry:
            with django_assert_max_num_queries(MOST_QUERIES) as queries:
                answer = client.get(address(model, "changelist"))
            assert answer.status_code == 200, model
            found[model.__name__] = len(queries)
        return found

    fill(project, 10, owner=boss)
    at_ten = costs()
    fill(project, 45, owner=boss)
    assert costs() == at_ten


def options(answer):
    """How many choices the page's longest list offers, the labels of one project aside."""
    lists = re.findall(r"<select(.*?)</select>", answer.content.decode(), re.DOTALL)
    return max((found.count("<option") for found in lists if 'name="choice"' not in found), default=0)


@pytest.mark.django_db
def test_every_form_opens_and_no_select_lists_the_table(client):
    boss = make_superuser()
    client.force_login(boss)
    fill(make_project(), 30, owner=boss)
    for model, model_admin in admin.site._registry.items():
        row = model._default_manager.order_by("pk").first()
        answer = client.get(address(model, "change", row.pk))
        assert answer.status_code == 200, model
        assert options(answer) < 25, model
        added = client.get(address(model, "add"))
        assert added.status_code == (200 if model_admin.has_add_permission(answer.wsgi_request) else 403), model
        assert options(added) < 25, model


@pytest.mark.django_db
def test_searching_and_sorting_work_in_every_list(client):
    boss = make_superuser()
    client.force_login(boss)
    fill(make_project(), 2, owner=boss)
    for model, model_admin in admin.site._registry.items():
        order = ".".join(str(column) for column in range(1, len(model_admin.list_display) + 1))
        for query in ("q=a", "q=1", f"o={order}"):
            assert client.get(f"{address(model, 'changelist')}?{query}").status_code == 200, (model, query)
