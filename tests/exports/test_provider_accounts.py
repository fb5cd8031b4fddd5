"""Accounts at providers: whose they are, where they may lead, and that a key never comes out again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports.errors import UnreadableKey, UnsafeAddress, Unsuitable
from exports.finetuning import refresh, refresh_all, send, submit
from exports.models import FineTune, ProviderAccount
from exports.provider_accounts import account_for, change_account, close_account, create_account
from exports.providers import reaching
from exports.providers.reaching import check_address, check_resolved
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples.errors import NotAllowed
from tests.factories import make_batch, make_member, make_project, make_superuser
from tests.providers.shop import KEY, Shop

from .training import batch_of, opinions

ADD = "/admin/exports/provideraccount/add/"


def make_account(project=None, name="main", *, provider="openai", key="sk-1", **more):
    return create_account(name=name, provider=provider, key=key, project=project, by=make_superuser(), **more)


# Addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://open.bigmodel.cn:443/api/paas/v4"])
def test_a_public_address_is_called(url):
    check_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1",
        "https://127.0.0.1/v1",
        "https://127.1/v1",
        "https://0x7f000001/v1",
        "https://2130706433/v1",
        "https://[::1]/v1",
        "https://[::ffff:10.0.0.1]/v1",
        "https://169.254.169.254/latest",
        "https://localhost/v1",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://user:pass@api.openai.com/v1",
        "https://api.openai.com/v1?x=1",
        "https://api.openai.com/v1#x",
        "https://api.openai.com:port/v1",
        "ftp://api.openai.com/",
        "file:///etc/passwd",
        "//api.openai.com",
        "api.openai.com",
        "https://",
        "",
    ],
)
def test_an_address_that_may_lead_inside_is_not_called(url):
    with pytest.raises(UnsafeAddress):
        check_address(url)


@given(st.ip_addresses())
def test_no_number_is_an_address_that_people_may_type(address):
    host = f"[{address}]" if address.version == 6 else str(address)
    with pytest.raises(UnsafeAddress):
        check_address(f"https://{host}/v1")


def test_the_settings_may_allow_a_host_of_our_own(settings):
    settings.PROVIDER_HOSTS = ["gpu.internal:8000", "vllm"]
    check_address("http://gpu.internal:8000/v1")
    check_address("http://vllm:9/v1")
    with pytest.raises(UnsafeAddress):
        check_address("http://gpu.internal:8001/v1")


def test_a_public_name_that_stands_for_an_inner_address_is_not_called(monkeypatch):
    monkeypatch.setattr(reaching.socket, "getaddrinfo", lambda *_: [(2, 1, 6, "", ("10.0.0.7", 0))])
    with pytest.raises(UnsafeAddress, match="rebind.example.org leads to 10.0.0.7"):
        check_resolved("https://rebind.example.org/v1")


# Whose they are -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_key_is_kept_encrypted_and_what_is_done_is_noted(db):
    account = make_account(key="sk-secret-key")
    assert "sk-secret-key" not in account.encrypted_key
    assert account.key == "sk-secret-key"
    change_account(account, by=account.created_by, key="sk-other-key")
    close_account(account, by=account.created_by)
    assert not close_account(account, by=account.created_by)
    noted = list(AuditEntry.objects.filter(subject="provideraccount").order_by("pk"))
    assert [entry.action for entry in noted] == ["create", "change", "close"]
    assert not any("sk-" in f"{entry.before}{entry.after}{entry.reason}" for entry in noted)


@pytest.mark.django_db
def test_another_address_wants_the_key_again():
    account = make_account(key="sk-secret-key")
    with pytest.raises(Unsuitable, match="give the key again"):
        change_account(account, by=account.created_by, base_url="https://thief.example.org/v1")
    assert ProviderAccount.objects.get().base_url == ""


@pytest.mark.django_db
def test_an_address_is_not_changed_while_a_fine_tune_is_under_way_there(client):
    """Its job would be looked for at the other address, and not found there: the fine-tune would fail, the job go on."""
    account = make_account(key="sk-secret-key", base_url="https://one.example.org/v1")
    finetune = FineTune.objects.create(batch=make_batch(), provider="openai", account=account, status="RUNNING")
    other = {"key": "sk-other-key", "base_url": "https://two.example.org/v1"}
    with pytest.raises(Unsuitable, match="1 fine-tune under way at https://one.example.org/v1"):
        change_account(account, by=account.created_by, **other)
    client.force_login(account.created_by)
    page = f"/admin/exports/provideraccount/{account.pk}/change/"
    assert "under way at https://one.example.org/v1" in client.post(page, other | {"model": ""}).content.decode()
    account.refresh_from_db()
    assert (account.key, account.base_url) == ("sk-secret-key", "https://one.example.org/v1")
    change_account(account, by=account.created_by, key="sk-other-key", model="gpt-x")  # where it is, all the same
    FineTune.objects.filter(pk=finetune.pk).update(status="FAILED")
    assert client.post(page, other | {"model": ""}).status_code == 302
    account.refresh_from_db()
    assert account.base_url == "https://two.example.org/v1"


@pytest.mark.django_db
def test_a_manager_makes_accounts_of_his_project_alone():
    project, other = make_project(), make_project()
    manager = make_member(project, Role.MANAGER)
    more = {"name": "a", "provider": "glm", "key": "k", "by": manager}
    create_account(project=project, **more)
    for refused in (other, None):
        with pytest.raises(NotAllowed):
            create_account(project=refused, **more)
    with pytest.raises(NotAllowed):
        create_account(project=project, **(more | {"by": make_member(project, Role.REVIEWER)}))


@pytest.mark.django_db
def test_the_projects_own_account_goes_before_that_of_every_project():
    project, other = make_project(), make_project()
    assert account_for("openai", project) is None
    shared = make_account()
    own = make_account(project, "own")
    make_account(project, "glm", provider="glm")
    assert account_for("openai", project) == own
    assert account_for("openai", other) == shared
    assert account_for("openai", project, shared) == shared
    for asked in (own, make_account(other, "glm2", provider="glm")):
        with pytest.raises(Unsuitable, match="is no open account at openai"):
            account_for("openai", other, asked)
    make_account(project, "second")
    with pytest.raises(Unsuitable, match="several accounts at openai: name one of own, second"):
        account_for("openai", project)
    close_account(own, by=own.created_by)
    assert account_for("openai", project).name == "second"


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "two words", "clé", "line\nbreak"])
def test_what_cannot_be_a_key_is_refused(key):
    with pytest.raises(Unsuitable, match="one word of ASCII"):
        make_account(key=key)


@pytest.mark.django_db
def test_what_trains_here_takes_no_account():
    with pytest.raises(Unsuitable, match="local trains here and takes no account"):
        make_account(provider="local")


@pytest.mark.django_db
def test_a_fine_tune_goes_through_the_account_and_keeps_to_it(settings):
    settings.FINETUNE_PROVIDERS = {}
    with Shop() as shop:
        settings.PROVIDER_HOSTS = [f"127.0.0.1:{shop.port}"]
        batch = batch_of(opinions(), format="openai")
        account = make_account(batch.project, key=KEY, base_url=shop.base_url, model="their-model")
        finetune = send(submit(batch, by=batch.created_by, provider="openai"))
        assert (finetune.account, finetune.model) == (account, "their-model")
        assert shop.only_job()["model"] == "their-model"
        settings.PROVIDER_HOSTS = []  # the address is looked at again each time it is called
        finetune.refresh_from_db()
        with pytest.raises(UnsafeAddress):
            refresh(finetune)
        assert FineTune.objects.get().trouble


@pytest.mark.django_db
def test_a_key_that_cannot_be_read_any_more_keeps_nobody_else_waiting(settings, client):
    """SECRETS_KEY was changed, and one account not given its key anew."""
    settings.FINETUNE_PROVIDERS = {}
    with Shop() as shop:
        settings.PROVIDER_HOSTS = [f"127.0.0.1:{shop.port}"]
        boss, finetunes = make_superuser(), []
        for number in range(2):
            batch = batch_of(opinions(20 + number), format="openai", ratios=None, by=boss)
            more = {"key": KEY, "base_url": shop.base_url, "model": "m"}
            make_account(batch.project, f"account {number}", **more)
            finetunes.append(send(submit(batch, by=boss, provider="openai")))
        for job in shop.jobs.values():
            shop.succeed(job)
        first, second = sorted(
            finetunes, key=lambda finetune: finetune.pk, reverse=True
        )  # as refresh_all comes to them
        made_before = settings.SECRETS_KEY
        settings.SECRETS_KEY = "another"
        encrypted = make_account(name="other").encrypted_key
        settings.SECRETS_KEY = made_before
        ProviderAccount.objects.filter(pk=first.account_id).update(encrypted_key=encrypted)
        assert refresh_all() == 1
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.status, second.status) == ("RUNNING", "SUCCESS")
        assert first.trouble == f"the key of “{first.account}” cannot be read: give it again"
        with pytest.raises(UnreadableKey):
            refresh(first)
        client.force_login(boss)
        told = client.get(f"/admin/exports/finetune/{first.pk}/refresh/", follow=True)
        assert told.status_code == 200 and "cannot be read: give it again" in told.content.decode()
        change_account(first.account, by=boss, key=KEY)
        assert refresh_all() == 1


# In the admin ---------------------------------------------------------------------------------------------------------


def account_form(**fields):
    return {"name": "ours", "provider": "openai", "base_url": "", "model": "", "key": "sk-typed-key", **fields}


@pytest.mark.django_db
def test_a_key_goes_into_the_admin_and_never_comes_out(client):
    project = make_project()
    client.force_login(make_member(project, Role.MANAGER))
    assert "This field is required" in client.post(ADD, account_form()).content.decode()  # a project of his own
    answer = client.post(ADD, account_form(project=project.pk))
    account = ProviderAccount.objects.get()
    assert (answer.status_code, account.key, account.project) == (302, "sk-typed-key", project)
    page = f"/admin/exports/provideraccount/{account.pk}/change/"
    for shown in (page, "/admin/exports/provideraccount/"):
        told = client.get(shown).content.decode()
        assert "ours" in told
        assert "sk-typed-key" not in told and account.encrypted_key not in told
    client.post(page, {"base_url": "", "model": "gpt-x", "key": ""})
    account.refresh_from_db()
    assert (account.model, account.key) == ("gpt-x", "sk-typed-key")
    moved = client.post(page, {"base_url": "https://thief.example.org/v1", "model": "", "key": ""})
    assert "Give the key again" in moved.content.decode()
    client.post("/admin/exports/provideraccount/", {"action": "close", "_selected_action": [account.pk]})
    account.refresh_from_db()
    assert not account.is_active


@pytest.mark.django_db
def test_a_typed_address_that_leads_inside_is_an_error_of_its_field(client):
    client.force_login(make_superuser())
    told = client.post(ADD, account_form(base_url="http://169.254.169.254/")).content.decode()
    assert "must begin with https://" in told
    assert not ProviderAccount.objects.exists()


@pytest.mark.django_db
def test_accounts_of_other_projects_are_not_there(client):
    project = make_project()
    shared, own, strange = make_account(), make_account(project, "own"), make_account(make_project(), "strange")
    client.force_login(make_member(project, Role.MANAGER))
    told = client.get("/admin/exports/provideraccount/").content.decode()
    assert ">own<" in told and "strange" not in told
    for hidden in (shared, strange):
        assert client.get(f"/admin/exports/provideraccount/{hidden.pk}/change/").status_code == 404
    client.force_login(make_member(project, Role.BUYER))
    assert client.get("/admin/exports/provideraccount/").status_code == 404
    assert client.get(f"/admin/exports/provideraccount/{own.pk}/change/").status_code == 404
