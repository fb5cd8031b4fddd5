"""Accounts at providers: made and closed by managers, the key encrypted from the first moment and never shown."""

from django.db import transaction
from django.utils import timezone

from labelhub.accounts import audit, secrets
from labelhub.accounts.roles import Power
from samples.errors import NotAllowed
from samples.models import Project
from samples.permissions import require

from . import providers
from .errors import Unsuitable
from .models import ProviderAccount
from .providers import Remote
from .providers.reaching import check_address


def create_account(
    *, name: str, provider: str, key: str, by, project: Project | None = None, base_url: str = "", model: str = ""
) -> ProviderAccount:
    """A new account; one of every project (`project` None) is a superuser's to make.

    UnsafeAddress where `base_url` may lead into the hub's own network.
    """
    _require(by, project)
    remote = providers.get(provider)
    if not isinstance(remote, Remote):
        raise Unsuitable(f"{remote.name} trains here and takes no account")
    _check_key(key)
    if base_url:
        check_address(base_url)
    with transaction.atomic():
        account = ProviderAccount.objects.create(
            name=name,
            provider=provider,
            project=project,
            base_url=base_url.rstrip("/"),
            model=model,
            encrypted_key=secrets.encrypt(key),
            created_by=by,
        )
        audit.record(account, "create", by=by, after="active", reason=_described(account))
    return account


def change_account(
    account: ProviderAccount, *, by, key: str = "", base_url: str | None = None, model: str | None = None
):
    """Give `account` another key, address or base model; an address is changed together with its key.

    Else whoever may change the address could have the key sent to a server of his own.
    """
    _require(by, account.project)
    changed = []
    with transaction.atomic():
        account = ProviderAccount.objects.select_for_update().get(pk=account.pk)
        if base_url is not None and base_url.rstrip("/") != account.base_url:
            if not key:
                raise Unsuitable("give the key again together with another address: it is not sent anywhere else")
            if base_url:
                check_address(base_url)
            check_nothing_is_there(account)
            account.base_url = base_url.rstrip("/")
            changed.append("address")
        if model is not None and model != account.model:
            account.model = model
            changed.append("model")
        if key:
            _check_key(key)
            account.encrypted_key = secrets.encrypt(key)
            changed.append("key")
        if changed:
            account.save(update_fields=["base_url", "model", "encrypted_key"])
            audit.record(account, "change", by=by, reason=f"{', '.join(changed)}: {_described(account)}")
    return account


def check_nothing_is_there(account: ProviderAccount) -> None:
    """Unsuitable while fine-tunes are under way at the account's address: at another their jobs would not be found."""
    count = account.finetunes.under_way().count()
    if count:
        tunes = "1 fine-tune" if count == 1 else f"{count} fine-tunes"
        address = account.base_url or f"{account.provider}'s own address"
        raise Unsuitable(f"there is still {tunes} under way at {address}: wait for the end, or make another account")


def close_account(account: ProviderAccount, *, by) -> bool:
    """Use `account` no more for new fine-tunes; those under way end through it. False where it was closed already."""
    _require(by, account.project)
    with transaction.atomic():
        closed = ProviderAccount.objects.active().filter(pk=account.pk).update(closed_at=timezone.now())
        if closed:
            audit.record(account, "close", by=by, before="active", after="closed")
    return bool(closed)


def account_for(provider: str, project: Project, asked: ProviderAccount | None = None) -> ProviderAccount | None:
    """The account a fine-tune goes through: the one asked for, else the project's own, else that of every project.

    None where there is none: the settings' then. Unsuitable where the one asked for is not for this, or several could be.
    """
    usable = ProviderAccount.objects.usable_for(project).filter(provider=provider)
    if asked is not None:
        if not usable.filter(pk=asked.pk).exists():
            raise Unsuitable(f"“{asked}” is no open account at {provider} for {project}")
        return asked
    found = list(usable)
    for level in ([row for row in found if row.project_id], [row for row in found if not row.project_id]):
        if len(level) > 1:
            raise Unsuitable(f"there are several accounts at {provider}: name one of {', '.join(map(str, level))}")
        if level:
            return level[0]
    return None


def _require(by, project):
    if by is None or by.is_superuser:
        return
    if project is None:
        raise NotAllowed("an account of every project is a superuser's to make and to change")
    require(by, Power.MANAGE, project)


def _check_key(key):
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise Unsuitable("a key is one word of ASCII characters")


def _described(account):
    return f"{account.provider} {account.base_url}".strip()
