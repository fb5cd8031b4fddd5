"""Making, checking and revoking access keys."""

import secrets as random_secrets
from datetime import timedelta

import structlog
from cryptography.fernet import InvalidToken
from django.db import transaction
from django.utils import timezone

from . import audit, secrets
from .models import AccessKey

log = structlog.get_logger(__name__)

TOUCH_EVERY = timedelta(minutes=1)  # last_used_at is for people: a write a minute a key is enough


@transaction.atomic
def create_key(user, *, name="", by=None, expires_at=None) -> tuple[AccessKey, str]:
    """A new key of `user` and its secret, which is shown this once and kept encrypted; `by` None: the hub itself."""
    secret = random_secrets.token_hex(24)
    key = AccessKey.objects.create(
        user=user,
        name=name,
        key_id=f"lh{random_secrets.token_hex(12)}",
        encrypted_secret=secrets.encrypt(secret),
        expires_at=expires_at,
    )
    audit.record(key, "create", by=by, after="active")
    return key, secret


@transaction.atomic
def revoke_key(key: AccessKey, *, by) -> bool:
    """Close `key` for good; False where it already was."""
    done = AccessKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if done:
        audit.record(key, "revoke", by=by, before="active", after="revoked")
        key.refresh_from_db(fields=["revoked_at"])
    return bool(done)


def bearer_of(key: AccessKey, secret: str) -> str:
    """The one text that carries both halves, for an Authorization header."""
    return f"{key.key_id}.{secret}"


def key_of_bearer(token: str) -> AccessKey | None:
    """The active key behind `<id>.<secret>`, noted as used; None where there is none."""
    key_id, dot, secret = token.partition(".")
    key = AccessKey.objects.active().select_related("user").filter(key_id=key_id).first() if dot else None
    if key is None or not _opens(key, secret):
        return None
    touch(key)
    return key


def key_that_signs(key_id: str) -> tuple[AccessKey, str] | None:
    """The active key called `key_id` and its secret, for who checks a signature; None where there is none.

    Not noted as used: that is for a signature that holds (`touch`).
    """
    key = AccessKey.objects.active().select_related("user").filter(key_id=key_id).first()
    try:
        return key and (key, key.secret)
    except InvalidToken:
        _say_unreadable(key)
        return None


def _opens(key, secret):
    try:
        return key.opens_with(secret)
    except InvalidToken:
        _say_unreadable(key)
        return False


def _say_unreadable(key):
    """SECRETS_KEY was changed: no key opens any more, and somebody should know why."""
    log.error("access_key_unreadable", key=key.key_id, hint="SECRETS_KEY is not the one that encrypted it")


def touch(key: AccessKey) -> None:
    """Note that `key` was used, at most once a minute: the other requests write nothing."""
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - TOUCH_EVERY:
        AccessKey.objects.filter(pk=key.pk).update(last_used_at=now)
        key.last_used_at = now
