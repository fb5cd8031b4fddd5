"""Which texts are nearly the same: the keys they are found by, and the clusters they form. Narrow tables, many rows."""

from django.db import models

from .projects import Project
from .tasks import Task


class DuplicateBand(models.Model):
    """One of the keys under which a task's text meets texts like it.

    The key says which band it is of, and of which project, so the pair is all there is to a row; its primary key is the
    index that candidates are found by. A key holds a bounded number of tasks (`duplicates.CROWD`).
    """

    pk = models.CompositePrimaryKey("key", "task_id")
    key = models.BigIntegerField()
    task = models.ForeignKey(Task, models.CASCADE, related_name="+")

    class Meta:
        verbose_name = "near-duplicate key"


class ClusterMemberQuerySet(models.QuerySet):
    def together(self):
        """The members of clusters of two and more."""
        shared = self.order_by().values("project", "cluster").annotate(size=models.Count("pk")).filter(size__gt=1)
        return self.filter(cluster__in=shared.values("cluster"))


class ClusterMember(models.Model):
    """A task compared with all others of its project: the tasks of one `cluster` are nearly the same text.

    The cluster is called by the smallest task id in it; a text like no other is a cluster of one.
    """

    task = models.OneToOneField(Task, models.CASCADE, primary_key=True, related_name="cluster_member")
    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    cluster = models.BigIntegerField()

    objects = ClusterMemberQuerySet.as_manager()

    class Meta:
        verbose_name = "near-duplicate"
        indexes = [models.Index(fields=["project", "cluster"], name="cluster_of_project")]

    def __str__(self):
        return f"task {self.task_id} in cluster {self.cluster}"
