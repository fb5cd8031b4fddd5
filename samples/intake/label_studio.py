"""Tasks that Label Studio exported, with what people answered there. https://labelstud.io/guide/export"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from samples.errors import BadRow
from samples.task_types import TaskType

CONTENT_KEYS = ("text", "content", "body", "prompt", "sentence", "image", "html")
# What Label Studio writes beside a task for its own use; the rest of a row is kept.
BOOKKEEPING = frozenset(
    {
        *("cancelled_annotations", "comment_authors", "comment_count", "drafts", "file_upload", "inner_id"),
        *("last_comment_updated_at", "overlap", "predictions", "project", "state", "total_annotations"),
        *("total_predictions", "unresolved_comment_count", "updated_by"),
    }
)


def unfold(cell: dict[str, Any], rest: dict[str, Any], kind: TaskType) -> None:
    """Bring the `data` and `annotations` of a row into the usual parts; what else they say goes to the metadata.

    An annotation marked as ground truth is the answer; else there is one where everybody who answered said the same.
    """
    data, annotations = cell.pop("data"), cell.pop("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise BadRow("data is an object and annotations a list, in Label Studio’s JSON", field="data")
    left = dict(data)
    key = next((key for key in CONTENT_KEYS if isinstance(data.get(key), str)), None)
    if key is None:
        key = next((key for key, value in data.items() if isinstance(value, str) and key not in ("id", "locale")), None)
    cell["content"] = left.pop(key) if key else None
    task = cell.pop("id", None)
    cell["id"] = left.pop("id", task)
    if "locale" in left:
        cell["locale"] = left.pop("locale")
    answers = list(_answers(annotations, kind))
    cell["label"] = _agreed(answers)
    for name in BOOKKEEPING & rest.keys():
        del rest[name]
    rest.update(left)
    if people := [who for who, _, _ in answers if who is not None]:
        about: dict[str, Any] = {"id": task, "annotators": people}
        if cell["label"] is None:
            about["answers"] = [answer for _, answer, _ in answers]
        rest["label_studio"] = about


Given = tuple[Any, Any, bool]  # who, the answer, whether it is the ground truth


def _answers(annotations: Sequence[Any], kind: TaskType) -> Iterator[Given]:
    for annotation in annotations:
        if not isinstance(annotation, Mapping) or annotation.get("was_cancelled"):
            continue
        answer = _answer(annotation.get("result"), kind)
        if answer:
            yield _who(annotation.get("completed_by")), answer, annotation.get("ground_truth") is True


def _answer(results: Any, kind: TaskType) -> Any:
    """The labels that were chosen, or the text that was written; None where there is neither."""
    wanted = "choices" if kind.has_labels else "text"
    found: list[str] = []
    for result in results if isinstance(results, list) else []:
        value = result.get("value") if isinstance(result, Mapping) else None
        given = value.get(wanted) if isinstance(value, Mapping) else None
        given = [given] if isinstance(given, str) else given
        if isinstance(given, list) and all(isinstance(one, str) for one in given):
            found += given
    if kind.allows_several:
        return found or None
    if len(found) > 1:
        raise BadRow(f"{len(found)} choices were made where the project takes one", field="annotations")
    return found[0] if found else None


def _who(person: Any) -> Any:
    """The annotator as Label Studio names him: an e-mail address, or a number."""
    return person.get("email", person.get("id")) if isinstance(person, Mapping) else person


def _agreed(answers: Sequence[Given]) -> Any:
    said = [answer for _, answer, is_truth in answers if is_truth] or [answer for _, answer, _ in answers]
    same = all(_sorted(one) == _sorted(said[0]) for one in said)
    return said[0] if said and same else None


def _sorted(answer: Any) -> Any:
    return sorted(answer) if isinstance(answer, list) else answer
