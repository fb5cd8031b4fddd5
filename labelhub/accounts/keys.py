"""Making, checking and revoking access keys."""

import secrets as random_secrets
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from . import audit, secrets
from .models import AccessKey

TOUCH_EVERY = timedelta(minutes=1)  # last_used_at is for people: a write a minute a key is enough


@transaction.atomic
def create_key(user, *, name="", by=None, expires_at=None) -> tuple[AccessKey, str]:
    """A new key of `user` and its secret, which is shown this once and kept encrypted."""
    secret = random_secrets.token_hex(24)
    key = AccessKey.objects.create(
        user=user,
        name=name,
        key_id=f"lh{random_secrets.token_hex(12)}",
        encrypted_secret=secrets.encrypt(secret),
        expires_at=expires_at,
    )
    audit.record(key, "create", by=by or user, after="active")
    return key, secret


@transaction.atomic
def revoke_key(key: AccessKey, *, by) -> bool:
    """Close `key` for good; False where it already was."""
    done = AccessKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if done:
        audit.record(key, "revoke", by=by, before="active", after="revoked")
        key.refresh_from_db(fields=["revoked_at"])
    return bool(done)


def key_of_bearer(token: str) -> AccessKey | None:
    """The active key behind `<id>.<secret>`, noted as used; None where there is none."""
    key_id, dot, secret = token.partition(".")
    key = AccessKey.objects.active().select_related("user").filter(key_id=key_id).first() if dot else None
    if key is None or not key.opens_with(secret):
        return None
    touch(key)
    return key


def touch(key: AccessKey) -> None:
    """Note that `key` was used, at most once a minute."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - TOUCH_EVERY)
    AccessKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
