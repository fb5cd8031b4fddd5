"""Near-duplicates among a project's texts: each new task is compared with those that share a key with it, and clustered.

Two texts are near-duplicates when the exact Jaccard similarity of their shingles is THRESHOLD or more; whoever is like
one of a cluster belongs to it. Candidates come from an index (`minhash.band_keys`), so that importing n tasks costs n
look-ups, whatever is there already. The index finds 99 of 100 pairs at .7 and practically all above .8.

A key shared by very many texts (boilerplate, a template filled in a million times) takes in its first CROWD tasks only.
Later ones are still compared with these, so a task costs at most 16 × CROWD comparisons; what can be missed is a pair
whose only common keys are full, and which is joined to none of those that fill them.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby

from django.db import transaction
from django.db.models import Case, Exists, F, Min, OuterRef, QuerySet, Value, When

from labelhub.facts import Fact
from labelhub.setwise import Ids, insert_rows

from . import minhash, task_types
from .models import ClusterMember, DuplicateBand, Project, Task

THRESHOLD = 0.7
LOWEST_THRESHOLD = 0.5  # below, most pairs share no key and would silently be missing
CROWD = 32
CHUNK = 400  # tasks indexed in one transaction: short enough for others who want to write
BYTES = 1_000_000  # and no more text than this, or so
SHINGLES = 300_000  # kept while a chunk is compared: some 30 MB


class BadThreshold(Fact):
    code = "bad_threshold"


@dataclass
class _Text:
    """A task on its way into the index."""

    task: int
    project: int
    essence: bytes
    keys: list[int] = field(default_factory=list)  # none for an empty text, which is like nothing


class _Clusters:
    """Union-find over ids: `join` puts two together, the smallest id of a cluster is its name."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def of(self, one: int) -> int:
        above = self._above
        while (parent := above.get(one, one)) != one:
            above[one] = one = above.get(parent, parent)  # half the way for whoever comes next
        return one

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.of(one), self.of(other)))
        if first != second:
            self._above[second] = first

    def renamed(self) -> dict[int, int]:
        """Every id that is no longer the name of its cluster, with the name."""
        return {one: name for one in list(self._above) if (name := self.of(one)) != one}


def index_tasks(tasks: QuerySet[Task], *, told: Callable[[int, int], object] | None = None) -> int:
    """Compare those of `tasks` that never were, and cluster them; returns how many. Only texts: an image's URL is none.

    May run while others import into the same project, and be stopped and run again: each chunk is one transaction.
    `told` hears, between two of them, how many are done and how many there are.
    """
    kinds = [name for name in task_types.names() if task_types.get(name).sample_type == "TEXT"]
    ids = _ids(tasks.filter(~Exists(ClusterMember.objects.filter(task=OuterRef("pk"))), type__in=kinds))
    compared = 0
    for number, chunk in enumerate(_chunks(ids), 1):
        compared += sum(map(_index, _texts(chunk)))
        if told:
            told(min(number * CHUNK, len(ids)), len(ids))
    return compared


def note_duplicates(task_ids: Iterable[int]) -> int:
    """Index freshly imported tasks, given by their ids; those known already, and ids of no task, change nothing."""
    return sum(index_tasks(Task.objects.filter(pk__in=chunk)) for chunk in _chunks(array("q", task_ids)))


def forget(task_ids: Iterable[int]) -> int:
    """Take tasks out of the index, because their texts changed; returns how many were in it.

    Those they had joined stay together: only forgetting a whole project, and indexing it again, can part them.
    """
    return sum(_forget(chunk) for chunk in _chunks(array("q", task_ids)))


@transaction.atomic
def _forget(task_ids):
    members = ClusterMember.objects.filter(task__in=task_ids)
    names = list(members.filter(cluster=F("task")).values_list("cluster", flat=True))
    DuplicateBand.objects.filter(task__in=task_ids).delete()
    forgotten, _ = members.delete()
    left = ClusterMember.objects.filter(cluster__in=names).values("cluster").annotate(first=Min("task"))
    _rename(dict(left.values_list("cluster", "first")))  # the old name may come back with another text
    return forgotten


def clusters(project: Project) -> Iterator[tuple[int, list[int]]]:
    """The clusters of two and more as they were found so far: name and task ids, in order, streamed."""
    members = ClusterMember.objects.filter(project=project).together().order_by("cluster", "task")
    pairs = members.values_list("cluster", "task_id").iterator(chunk_size=10_000)
    for name, group in groupby(pairs, key=lambda pair: pair[0]):
        yield name, [task for _, task in group]


def find_duplicates(project: Project, *, threshold: float = THRESHOLD) -> Iterator[tuple[int, list[int]]]:
    """Index what of `project` is not yet, and yield its clusters: name and task ids.

    At another `threshold` than the usual one they are worked out anew and not kept; below it the index finds ever fewer
    of the pairs: 94 of 100 at .6, 64 at .5, which is as low as it goes.
    """
    if not LOWEST_THRESHOLD <= threshold <= 1:
        raise BadThreshold(f"threshold {threshold}: it must be from {LOWEST_THRESHOLD} to 1", threshold=threshold)
    index_tasks(Task.objects.filter(project=project))
    return clusters(project) if threshold == THRESHOLD else _clusters_at(project, threshold)


def _clusters_at(project, threshold):
    members = ClusterMember.objects.filter(project=project)
    if threshold > THRESHOLD:  # what is alike at .8 is together at .7 already
        members = members.together()
    found = _Clusters()
    for chunk in _chunks(_ids(Task.objects.filter(cluster_member__in=members))):
        for texts in _texts(chunk):
            _join_alike(texts, _met(texts), found, threshold)
    groups = defaultdict(list)
    for task, name in found.renamed().items():
        groups[name].append(task)
    for name, others in sorted(groups.items()):
        yield name, [name, *sorted(others)]


# Indexing a chunk -----------------------------------------------------------------------------------------------------


def _ids(tasks: QuerySet[Task]) -> array:
    """Eight bytes a task; a walk in pages would have the database sort what is left for every page."""
    return array("q", tasks.order_by("pk").values_list("pk", flat=True).iterator(chunk_size=10_000))


def _chunks(ids: array) -> Iterator[list[int]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK].tolist()


def _texts(ids: list[int]) -> Iterator[list[_Text]]:
    """The tasks of `ids` with the keys of their texts, in order, in lists that hold no more than BYTES or so."""
    rows = Task.objects.filter(pk__in=ids).order_by("pk").values_list("pk", "project_id", "content")
    texts, size = [], 0
    for task, project, content in rows.iterator(chunk_size=CHUNK):
        texts.append(_Text(task, project, minhash.essence(content)))
        size += len(texts[-1].essence)
        if size > BYTES:
            yield _keyed(texts)
            texts, size = [], 0
    if texts:
        yield _keyed(texts)


def _keyed(texts):
    speaking = [text for text in texts if text.essence]
    if speaking:
        keys = minhash.band_keys([text.essence for text in speaking], [text.project for text in speaking])
        for text, own in zip(speaking, keys.tolist(), strict=True):
            text.keys = own
    return texts


@transaction.atomic
def _index(texts: list[_Text]) -> int:
    """Find what `texts` are like, write their clusters and keys; returns how many were new."""
    # Whoever indexes the same project waits here, or neither would see the other's texts. (SQLite has one writer.)
    projects = Project.objects.filter(pk__in={text.project for text in texts}).order_by("pk")
    list(projects.select_for_update(no_key=True).values_list("pk", flat=True))
    known = set(ClusterMember.objects.filter(task__in=[text.task for text in texts]).values_list("task_id", flat=True))
    texts = [text for text in texts if text.task not in known]
    met = _met(texts)
    found, names = _Clusters(), set()
    there = ClusterMember.objects.filter(task__in=Ids(set(chain.from_iterable(met.values()))))
    for task, name in there.values_list("task_id", "cluster"):
        found.join(task, name)
        names.add(name)
    _join_alike(texts, met, found, THRESHOLD)
    _rename({name: now for name in names if (now := found.of(name)) != name})
    members = [(text.task, text.project, found.of(text.task)) for text in texts]
    insert_rows(ClusterMember, ["task", "project", "cluster"], members, same={})
    insert_rows(DuplicateBand, ["key", "task"], _kept_keys(texts, met), same={})
    return len(texts)


def _met(texts: Iterable[_Text]) -> dict[int, list[int]]:
    """The tasks indexed under any key of `texts`, by key."""
    keys = {key for text in texts for key in text.keys}
    met = defaultdict(list)
    for key, task in DuplicateBand.objects.filter(key__in=Ids(keys)).values_list("key", "task_id"):
        met[key].append(task)
    return met


def _join_alike(texts: Sequence[_Text], met: Mapping[int, Collection[int]], found: _Clusters, threshold: float) -> None:
    """Join each of `texts` in `found` with the tasks it met, and the texts before it, that are alike.

    Those that share most keys are compared first, and one that is in the same cluster by then not at all: a crowd of
    copies costs one comparison each.
    """
    shingles = _Shingles(texts, met)
    before = {key: list(tasks) for key, tasks in met.items()}
    for text in texts:
        shared = Counter(chain.from_iterable(before.get(key, ()) for key in text.keys))
        own = found.of(text.task)
        for other, _ in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
            if found.of(other) != own and shingles.likeness(text.task, other) >= threshold:
                found.join(text.task, other)
                own = found.of(other)
        for key in text.keys:
            if len(tasks := before.setdefault(key, [])) < CROWD:
                tasks.append(text.task)


class _Shingles:
    """The shingles of `texts` and of the tasks they met; SHINGLES of them, or so, are kept at hand."""

    def __init__(self, texts, met):
        self._made, self._size = {}, 0
        self._essences = {text.task: text.essence for text in texts}
        others = set(chain.from_iterable(met.values())) - self._essences.keys()
        contents = Task.objects.filter(pk__in=Ids(others)).values_list("pk", "content").iterator(chunk_size=CHUNK)
        self._essences.update((task, minhash.essence(content)) for task, content in contents)

    def likeness(self, one: int, other: int) -> float:
        return minhash.jaccard(self._of(one), self._of(other))

    def _of(self, task):
        if task not in self._made:
            if self._size > SHINGLES:
                self._made, self._size = {}, 0
            self._made[task] = minhash.shingles(self._essences[task])
            self._size += len(self._made[task])
        return self._made[task]


def _rename(names: Mapping[int, int]) -> None:
    """Give clusters another name: old name → new one."""
    if names:
        cases = [When(cluster=name, then=Value(now)) for name, now in names.items()]
        ClusterMember.objects.filter(cluster__in=names).update(cluster=Case(*cases))


def _kept_keys(texts, met):
    """The rows to store, those of a key together; none for a key that is full."""
    held = Counter({key: len(tasks) for key, tasks in met.items()})
    rows = []
    for text in texts:
        for key in text.keys:
            if held[key] < CROWD:
                held[key] += 1
                rows.append((key, text.task))
    return sorted(rows)
