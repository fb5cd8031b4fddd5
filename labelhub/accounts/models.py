"""Users, the keys their programs carry, and the audit trail."""

import hmac
import secrets as random_secrets
from collections.abc import Iterator

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone

from . import secrets


def new_uid() -> str:
    """Sixteen lower-case hex digits: the form of an id that every contract accepts."""
    return random_secrets.token_hex(8)


def new_uids(count: int) -> Iterator[str]:
    """`count` uids in a row from a random one on: written in order, they fill neighbouring pages of an index."""
    first = random_secrets.randbits(64)
    return (f"{(first + place) % 2**64:016x}" for place in range(count))


class User(AbstractUser):
    """A person or a program."""

    uid = models.CharField(max_length=16, unique=True, default=new_uid, editable=False)


class AccessKeyQuerySet(models.QuerySet):
    def active(self):
        """Keys that still open: not revoked, not expired, of a user who may log in."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None, user__is_active=True)


class AccessKey(models.Model):
    """An id and a secret: a long-lived bearer token, and the pair that signs Qianfan requests."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="access_keys")
    name = models.CharField(max_length=100, blank=True)
    key_id = models.CharField("access key", max_length=40, unique=True, editable=False)
    encrypted_secret = models.TextField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = AccessKeyQuerySet.as_manager()

    def __str__(self):
        return self.key_id

    @property
    def secret(self) -> str:
        return secrets.decrypt(self.encrypted_secret)

    @property
    def is_active(self) -> bool:
        return not self.revoked_at and (self.expires_at is None or self.expires_at > timezone.now())

    def opens_with(self, secret: str) -> bool:
        """Whether `secret` is this key's, compared in constant time."""
        return hmac.compare_digest(self.secret.encode(), secret.encode())


class AuditEntry(models.Model):
    """One change of state: who turned what from which state into which, when and why."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+")
    action = models.CharField(max_length=40, editable=False)
    subject = models.CharField(max_length=40, editable=False)
    subject_id = models.BigIntegerField(editable=False)
    before = models.CharField(max_length=200, blank=True, editable=False)
    after = models.CharField(max_length=200, blank=True, editable=False)
    reason = models.TextField(blank=True, editable=False)

    class Meta:
        verbose_name_plural = "audit trail"
        ordering = ["-id"]
        indexes = [models.Index(fields=["subject", "subject_id"], name="audit_subject")]

    def __str__(self):
        return f"{self.subject} {self.subject_id}: {self.action}"
