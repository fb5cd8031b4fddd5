"""The columns a settled item carries, the same on a task and on the sample made from it: an export reads one table."""

from django.db import models
from django.db.models import Q

from labelhub.accounts.models import new_uid
from labelhub.fields import JSONTextField, ShareField


class Verdict(models.Model):
    """What the item is, what was decided about it, and how sure the hub is.

    `uid` is the item's id in every export: a sample has its task's. Each table has a constraint of its own on it, not
    unique=True, with which PostgreSQL would write a second index (for LIKE) that nobody reads.
    `label_name` is what people read and a model learns to write: the label, several joined by ", ", or the answer's own
    text where the type has no labels. `label_names` is the list behind it where a type allows several, else null.
    `vote_shares` maps each answer's text to its share of the (weighted) votes: the soft label.
    """

    uid = models.CharField(max_length=16, default=new_uid, editable=False)
    type = models.CharField(max_length=40)
    content = models.TextField()
    locale = models.CharField(max_length=16, default="en")
    label_name = models.TextField(null=True, blank=True)
    label_names = JSONTextField(null=True, blank=True)
    label_index = models.PositiveIntegerField(null=True, blank=True)
    answer = JSONTextField(null=True, blank=True)
    vote_shares = JSONTextField(null=True, blank=True)
    confidence = ShareField(null=True, blank=True)
    validated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


# A verdict whose words are not one label of the project's list: several labels, an item's own option, or free text.
LABEL_UNLISTED = Q(label__isnull=True, label_name__isnull=False)
VERDICT_FIELDS = tuple(field.name for field in Verdict._meta.local_fields)
