"""Together AI: its own paths and words. https://docs.together.ai/reference/post-fine-tunes"""

import hashlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import structlog

from exports.errors import ProviderDown, ProviderRefused

from .base import Number, Remote, Report, State, word_of
from .openai import as_dict, gathered, progress_of, suffix_of
from .reaching import check_resolved
from .wire import UPLOAD_SECONDS, half_told, said_by, talking, text_of

log = structlog.get_logger(__name__)

STATES = {
    "completed": State.SUCCESS,
    "error": State.FAILED,
    "user_error": State.FAILED,
    "cancelled": State.CANCELLED,
}  # pending, queued, running, compressing, uploading, cancel_requested, and what is yet unknown: on its way


class Together(Remote):
    name = "together"
    label = "Together AI"
    address = "https://api.together.xyz/v1"
    accepts: ClassVar[Mapping[str, str]] = {"openai": "sft", "openai-dpo": "dpo"}
    least_examples = 1
    most_bytes = 5_000_000_000  # in one piece
    parameters: ClassVar[Mapping[str, Number]] = {
        "n_epochs": Number(1, 20, is_whole=True, or_auto=False),
        "batch_size": Number(1, 1024, is_whole=True, or_auto=False),
        "learning_rate": Number(1e-8, 1, or_auto=False),
        "n_checkpoints": Number(1, 20, is_whole=True, or_auto=False),
        "warmup_ratio": Number(0, 1, or_auto=False),
        "random_seed": Number(0, 2**31 - 1, is_whole=True, or_auto=False),
    }

    def talk(self, finetune):
        return talking(self.name, self.connection(finetune.account))

    # Beginning --------------------------------------------------------------------------------------------------------

    def send(self, finetune, name, file) -> str:
        """Ask for a place, put the bytes there, have them looked at. A file with the same bytes is there already: its id."""
        import openai

        asked = {
            "purpose": "fine-tune",
            "file_name": name,
            "file_type": "jsonl",
            "checksum": hashlib.file_digest(file, "sha256").hexdigest(),
        }
        file.seek(0)
        with self.talk(finetune) as client:
            try:
                client.post(
                    "/files",
                    cast_to=object,
                    body=asked,
                    options={"headers": {"Content-Type": "multipart/form-data"}, "follow_redirects": False},
                )
                raise ProviderDown(f"{self.name} names no place to send the file to")
            except openai.APIStatusError as error:
                if error.status_code == 409 and (known := as_dict(error.response.text).get("file_id")):
                    return known
                if error.status_code != 302:
                    raise
                place, id = error.response.headers["Location"], error.response.headers["X-Together-File-Id"]
            self._put(finetune, place, file)
            client.post(f"/files/{id}/preprocess", cast_to=object)
        return id

    def _put(self, finetune, place, file):
        """The bytes go to a store that the provider names; no further than that, and without our key."""
        import httpx2

        if place.startswith("http://") and not self.connection(finetune.account).base_url.startswith("http://"):
            raise ProviderDown(f"{self.name} names a place to send the file to that is not safe")
        if self.connection(finetune.account).is_typed:
            check_resolved(place)
        file.seek(0, 2)
        size = file.tell()
        file.seek(0)
        try:
            answer = httpx2.put(
                place,
                content=file,
                headers={"Content-Length": str(size)},
                timeout=UPLOAD_SECONDS,
                follow_redirects=False,
            )
        except httpx2.TransportError as error:
            raise ProviderDown(f"the store of {self.name} cannot be reached: {error}") from error
        if answer.status_code >= 500:
            raise ProviderDown(f"the store of {self.name} answered {answer.status_code}")
        if answer.status_code != 200:
            raise ProviderRefused(f"the store of {self.name} answered {answer.status_code}", status=answer.status_code)

    def create(self, finetune):
        with self.talk(finetune) as client:
            return self.report(client.post("/fine-tunes", cast_to=object, body=self.order(finetune)))

    def order(self, finetune) -> dict[str, Any]:
        chosen = dict(finetune.hyperparameters)
        own = chosen.pop("suffix", "")
        order = {
            "model": finetune.model,
            "training_file": finetune.provider_files["train"],
            "n_epochs": 1,
            "learning_rate": 1e-5,
            "training_method": {"method": self.accepts[finetune.batch.format]},
            **chosen,
            # Equal files share an id here: the suffix is how a job of ours is known again.
            "suffix": f"{own[:22]}-{suffix_of(finetune)}".lstrip("-"),
        }
        if order["training_method"]["method"] == "sft":
            order["training_method"]["train_on_inputs"] = "auto"
        if "val" in finetune.provider_files:
            order |= {"validation_file": finetune.provider_files["val"], "n_evals": 5}
        return order

    def find(self, finetune):
        with self.talk(finetune) as client:
            listed = as_dict(client.get("/fine-tunes", cast_to=object))["data"]
        for job in listed:
            if suffix_of(finetune) in f"{job.get('suffix')} {job.get('model_output_name')} {job.get('output_name')}":
                return self.report(job)
        return None

    # How it goes ------------------------------------------------------------------------------------------------------

    def ask(self, finetune):
        path = f"/fine-tunes/{finetune.provider_job_id}"
        with self.talk(finetune) as client:
            job = client.get(path, cast_to=object)

            def page_of(after):
                told = as_dict(client.get(f"{path}/events", cast_to=object))
                return SimpleNamespace(data=told.get("data"), has_more=False)

            events = half_told(
                "events",
                finetune.pk,
                self.name,
                self.connection(finetune.account),
                lambda: gathered(page_of, finetune.events),
            )
            return self.report(job, events=finetune.events if events is None else events)

    def cancel(self, finetune):
        import openai

        with self.talk(finetune) as client:
            try:
                client.post(f"/fine-tunes/{finetune.provider_job_id}/cancel", cast_to=object)
            except openai.APIStatusError as error:
                if error.status_code not in (400, 409):  # those say that it has ended: ask how
                    raise
                said = said_by(error, self.connection(finetune.account))
                log.info("finetune_cancel_refused", finetune=finetune.pk, said=said)
        return self.ask(finetune)

    def report(self, told, *, events=None) -> Report:
        """A job, in the words of the hub."""
        job, events = as_dict(told), events or []
        word = word_of(job.get("status"))
        state = STATES.get(word.lower(), State.RUNNING)
        errors = [event["message"] for event in events if "error" in event["level"]]
        metrics = {
            name: job[key]
            for name, key in (("trained_tokens", "token_count"), ("epochs", "epochs_completed"))
            if job.get(key)
        }
        for name in ("loss", "valid_loss"):
            seen = [event[name] for event in events if name in event]
            if seen:
                metrics[f"last_{name}"] = seen[-1]
        return Report(
            job_id=job["id"],
            state=state,
            status=word,
            progress=progress_of(events),
            error=(errors[-1] if errors else text_of(job) or "together gives no reason")
            if state == State.FAILED
            else "",
            events=events,
            metrics=metrics,
            provider_model=str(job.get("model_output_name") or job.get("output_name") or ""),
        )
