"""A provider of fine-tuning for tests: a small HTTP server that behaves as OpenAI, Zhipu GLM or Together document it.

It can be told to misbehave: to answer with an error, before or after doing what it was asked, or too late.
"""

import itertools
import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk-test-0123456789abcdef"
LEAST_EXAMPLES = 10


@dataclass
class Fault:
    """The next request that begins with `request` fails; `done` says that it is carried out all the same."""

    request: str
    status: int = 500
    done: bool = False
    seconds: float = 0.0  # waits so long instead of answering
    body: Any = None
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    def __init__(self, status, message, code=None, kind="invalid_request_error", param=None):
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}


class Shop:
    """The server and what it has: `files`, `jobs` by id, `requests` as they came."""

    def __init__(self, dialect="openai", page=100):
        self.dialect, self.page = dialect, page
        self.files: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[tuple[str, Any]] = []
        self.faults: list[Fault] = []
        self.clock: Callable[[], float] = time.time
        self.oldest_first, self.names_events = False, True  # how it lists the events of a job
        self.says: Callable[[str], str] = lambda text: "Good"  # what a trained model answers to the user's turn
        self.likely = 0.9
        self.minds: set[str] = set()  # parameters of a chat that it refuses
        self.thinks, self.thinking, self.most_thinking = 0.0, 0, 0  # seconds an answer takes; how many at once
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"shop": self}))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.root = {"openai": "/v1", "glm": "/api/paas/v4", "together": "/v1"}[dialect]
        self.base_url = f"http://127.0.0.1:{self.port}{self.root}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def settings(self, **more):
        return {"base_url": self.base_url, "key": KEY, "model": "base-model", **more}

    # What a test tells it ---------------------------------------------------------------------------------------------

    def fail(self, request, status=500, **more):
        self.faults.append(Fault(request, status, **more))

    def hang(self, request, *, done=True, seconds=3.0):
        self.faults.append(Fault(request, done=done, seconds=seconds))

    def only_job(self):
        [job] = self.jobs.values()
        return job

    def calls(self, beginning):
        return [body for request, body in self.requests if request.startswith(beginning)]

    def tell(self, job, message, *, level="info", **data):
        """Something happens to a job: an event in the words of the dialect."""
        with self.lock:
            number, now = next(self.numbers), self.clock()
            event = {"created_at": int(now), "level": level, "message": message}
            if self.dialect == "together":
                stamp = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
                event |= {"object": "fine-tune-event", "created_at": stamp, "type": "job_running", **data}
            else:
                event |= {"id": f"ftevent-{number}", "object": "fine_tuning.job.event", "data": data or None}
                event["type"] = "metrics" if data else "message"
            self.events[job["id"]].insert(0, event)  # the newest first

    def train(self, job, step, steps, *, loss=None, valid_loss=None):
        job["status"] = "running"
        if self.dialect == "glm":
            data = {"current_steps": step, "total_steps": steps, "epoch": 1, "loss": loss, "eval_loss": valid_loss}
            data |= {"trained_tokens": 12 * step, "acc": 0.5, "elapsed_time": "0:00:01", "remaining_time": "0:00:02"}
            message = "training"
        elif self.dialect == "together":
            data, message = {"step": step, "total_steps": steps, "loss": loss}, f"Epoch step {step}"
        else:
            data = {"step": step, "train_loss": loss, "valid_loss": valid_loss, "total_steps": steps}
            message = f"Step {step}/{steps}: training loss={loss}"
        self.tell(job, message, **{name: value for name, value in data.items() if value is not None})

    def succeed(self, job, model="ft:base-model:org::1"):
        with self.lock:
            if self.dialect == "together":
                job |= {"status": "completed", "model_output_name": model, "token_count": 1200}
            else:
                job |= {"status": "succeeded", "fine_tuned_model": model, "trained_tokens": 1200}
            self.tell(job, "The job has successfully completed")

    def break_off(self, job, message="Training diverged", code="server_error"):
        if self.dialect == "together":
            job["status"] = "error"
            self.tell(job, message, level="error")
        else:
            job |= {"status": "failed", "error": {"code": code, "message": message, "param": None}}

    # What it answers --------------------------------------------------------------------------------------------------

    def answer(self, method, path, query, body, headers):
        if headers.get("Authorization") != f"Bearer {KEY}":
            raise Refusal(401, f"Incorrect API key provided: {headers.get('Authorization')}", "invalid_api_key")
        if (method, path) == ("POST", f"{self.root}/chat/completions"):
            return self.chat(body)
        with self.lock:
            words = [word for word in path.removeprefix(self.root).split("/") if word]
            match method, words:
                case "POST", ["files"]:
                    return self.take_file(body)
                case "POST", ["files", id, "preprocess"] if self.dialect == "together":
                    return {"id": id, "object": "file", "filename": self.files[id]["filename"], "processed": True}
                case "GET", ["files", id] if self.dialect == "openai":
                    return self.found(self.files, id)
                case "POST", [("fine_tuning" | "fine-tunes"), *rest]:
                    return self.order(rest, body)
                case "GET", [("fine_tuning" | "fine-tunes"), *rest]:
                    return self.look(rest, query)
        raise Refusal(404, f"Invalid URL ({method} {path})")

    def chat(self, body):
        """A chat completion of a model that was trained here, with the log-probabilities of its tokens if asked."""
        if strange := sorted(self.minds & body.keys()):
            raise Refusal(400, f"Unsupported parameter: '{strange[0]}'", "unsupported_parameter", param=strange[0])
        names = ("model_output_name",) if self.dialect == "together" else ("fine_tuned_model",)
        if body["model"] not in [job.get(name) for job in self.jobs.values() for name in names]:
            raise Refusal(404, f"The model `{body['model']}` does not exist", "model_not_found")
        with self.lock:
            self.thinking += 1
            self.most_thinking = max(self.most_thinking, self.thinking)
        time.sleep(self.thinks)
        with self.lock:
            self.thinking -= 1
        text = self.says(body["messages"][-1]["content"])
        if text == "(filtered)":
            raise Refusal(400, "The content is not allowed", "content_filter")
        tokens = [text[:3], text[3:]] if len(text) > 3 else [text]
        choice = {
            "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, "logprobs": None,
        }  # fmt: skip
        if body.get("logprobs"):
            share = math.log(self.likely) / len(tokens)
            told = [{"token": token, "logprob": share, "bytes": None, "top_logprobs": []} for token in tokens]
            choice["logprobs"] = {"content": told, "refusal": None}
        return {
            "id": f"chatcmpl-{next(self.numbers)}", "object": "chat.completion", "created": int(time.time()),
            "model": body["model"], "choices": [choice],
            "usage": {"prompt_tokens": 9, "completion_tokens": len(tokens), "total_tokens": 9 + len(tokens)},
        }  # fmt: skip

    def found(self, things, id):
        if id not in things:
            raise Refusal(404, f"Could not find {id}", "not_found")
        return {name: value for name, value in things[id].items() if not name.startswith("_")}

    def take_file(self, parts):
        number = next(self.numbers)
        if self.dialect == "together":
            for id, known in self.files.items():
                if known["_checksum"] == parts["checksum"]:
                    raise Refusal(409, "File already exists") from Repeated(id)
            id = f"file-{number}"
            self.files[id] = {"id": id, "filename": parts["file_name"], "_checksum": parts["checksum"], "_content": b""}
            raise Elsewhere(f"http://127.0.0.1:{self.port}/store/{id}", id)
        purpose, upload = parts.get("purpose"), parts.get("file")
        if purpose != "fine-tune":
            raise Refusal(400, f"'{purpose}' is not one of ['fine-tune']", param="purpose")
        if not isinstance(upload, Upload):
            raise Refusal(400, "'file' is a required property", param="file")
        file = {
            "id": f"file-{number}", "object": "file", "bytes": len(upload.content), "created_at": int(time.time()),
            "filename": upload.name, "purpose": purpose, "status": "processed", "_content": upload.content,
        }  # fmt: skip
        self.files[file["id"]] = file
        return self.found(self.files, file["id"])

    def order(self, words, body):
        if self.dialect != "together":
            words = words[1:]  # jobs
        if not words:
            return self.begin(body)
        job = self.jobs.get(words[0])
        if job is None:
            raise Refusal(404, f"Could not find fine tune: {words[0]}", "fine_tune_not_found")
        if words[1] != "cancel":
            raise Refusal(404, "Invalid URL")
        if job["status"] in ("succeeded", "failed", "cancelled", "completed", "error"):
            raise Refusal(400, f"Job has already {job['status']}", "job_already_finished")
        job["status"] = "cancel_requested" if self.dialect == "together" else "cancelled"
        self.tell(job, "Fine-tuning job cancelled")
        return self.found(self.jobs, words[0])

    def begin(self, body):
        for name in ("model", "training_file"):
            if not body.get(name):
                raise Refusal(400, f"'{name}' is a required property", param=name)
        if body["model"] == "unknown-model":
            raise Refusal(
                404, "微调模型不存在" if self.dialect == "glm" else "The model does not exist", "model_not_found"
            )
        for name in ("training_file", "validation_file"):
            if body.get(name) and body[name] not in self.files:
                raise Refusal(400, f"invalid {name}: {body[name]}", "invalid_file", param=name)
        if self.dialect == "glm" and (strange := body.keys() - GLM_FIELDS):
            raise Refusal(400, f"unknown parameter: {', '.join(sorted(strange))}", "1210")
        number = next(self.numbers)
        if self.dialect == "together":
            job = {"id": f"ft-{number}", "status": "pending", "created_at": now_iso(), "updated_at": now_iso(), **body}
        else:
            job = {
                "id": f"ftjob-{number}", "object": "fine_tuning.job", "created_at": int(time.time()), "error": None,
                "fine_tuned_model": None, "finished_at": None, "model": body["model"], "status": "validating_files",
                "training_file": body["training_file"], "validation_file": body.get("validation_file"),
                "trained_tokens": None, "result_files": [], "_order": body,
            }  # fmt: skip
            if self.dialect == "openai":
                job |= {
                    "organization_id": "org-1", "seed": body.get("seed", 42), "method": body.get("method"),
                    "hyperparameters": {"n_epochs": "auto"}, "metadata": body.get("metadata"),
                }  # fmt: skip
        self.jobs[job["id"]], self.events[job["id"]] = job, []
        self.tell(job, f"Created fine-tuning job: {job['id']}")
        if problem := why_bad(self.files[body["training_file"]]["_content"]):
            self.break_off(job, problem, "invalid_training_file")
        return self.found(self.jobs, job["id"])

    def look(self, words, query):
        if self.dialect != "together":
            words = words[1:]
        if not words:
            newest = [self.found(self.jobs, id) for id in reversed(self.jobs)]
            return {"data": newest} if self.dialect == "together" else self.paged(newest, query)
        job = self.found(self.jobs, words[0])
        match words[1:]:
            case []:
                return job
            case ["events"]:
                events = self.events[job["id"]][:: -1 if self.oldest_first else 1]
                if not self.names_events:
                    events = [{name: value for name, value in event.items() if name != "id"} for event in events]
                return {"data": events} if self.dialect == "together" else self.paged(events, query)
            case ["checkpoints"] if self.dialect == "openai":
                done = job["status"] == "succeeded"
                return self.paged([checkpoint(job, step) for step in (60, 30)] if done else [], query)
        raise Refusal(404, "Invalid URL")

    def paged(self, rows, query):
        after, limit = query.get("after", [None])[0], min(int(query.get("limit", ["20"])[0]), self.page)
        start = next((place + 1 for place, row in enumerate(rows) if row.get("id") == after), 0) if after else 0
        if after and not start:
            raise Refusal(400, f"No such object: {after}", param="after")
        shown = rows[start : start + limit]
        return {"object": "list", "data": shown, "has_more": start + limit < len(rows)}


GLM_FIELDS = {"model", "training_file", "validation_file", "suffix", "hyperparameters", "request_id"}


class Elsewhere(Exception):
    """302: put the bytes there."""

    def __init__(self, place, id):
        self.place, self.id = place, id


class Repeated(Exception):
    """The file with these bytes is there already."""


@dataclass
class Upload:
    name: str
    content: bytes


def now_iso():
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def checkpoint(job, step):
    return {
        "id": f"ftckpt-{step}", "object": "fine_tuning.job.checkpoint", "created_at": int(time.time()),
        "fine_tuned_model_checkpoint": f"{job['fine_tuned_model']}:ckpt-step-{step}", "step_number": step,
        "fine_tuning_job_id": job["id"], "metrics": {"step": step, "train_loss": 1 / step, "valid_loss": 2 / step},
    }  # fmt: skip


def why_bad(content):
    """What OpenAI says of a file it cannot train on; the checks of its cookbook."""
    lines = content.decode().splitlines()
    if len(lines) < LEAST_EXAMPLES:
        return f"Training file has {len(lines)} example(s), but must have at least {LEAST_EXAMPLES} examples"
    for number, line in enumerate(lines, 1):
        messages = json.loads(line).get("messages")
        if not isinstance(messages, list) or not any(turn["role"] == "assistant" for turn in messages):
            return f"Line {number}: example_missing_assistant_message"
        if not all(isinstance(turn["content"], str) and turn["content"] for turn in messages):
            return f"Line {number}: missing_content"
    return None


class Handler(BaseHTTPRequestHandler):
    shop: Shop
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def read_body(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            raw = b""
            while size := int(self.rfile.readline(), 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(length)
        kind = self.headers.get_content_type()
        if kind == "multipart/form-data":
            return parts_of(self.headers, raw)
        return json.loads(raw) if raw and kind == "application/json" else raw

    def handle_any(self):
        shop, address = self.shop, urlsplit(self.path)
        body = self.read_body()
        request = f"{self.command} {address.path.removeprefix(shop.root)}"
        with shop.lock:
            shop.requests.append((request, body))
            fault = next((fault for fault in shop.faults if request.startswith(fault.request) and fault.times), None)
            if fault:
                fault.times -= 1
        extra = {"x-request-id": f"req_{len(shop.requests)}"}
        if fault and not fault.done:
            time.sleep(fault.seconds)
            told = fault.body or {"error": {"message": f"told to answer {fault.status}", "type": "x", "code": None}}
            return self.say(fault.status, told, extra | fault.headers)
        status, told = 200, None
        try:
            if self.command == "PUT" and address.path.startswith("/store/"):
                shop.files[address.path.rpartition("/")[2]]["_content"] = body
                told = {}
            else:
                told = shop.answer(self.command, address.path, parse_qs(address.query), body, self.headers)
        except Elsewhere as place:
            status, told = 302, {}
            extra |= {"Location": place.place, "X-Together-File-Id": place.id}
        except Refusal as refusal:
            status, told = refusal.status, {"error": refusal.error}
            if isinstance(refusal.__cause__, Repeated):
                told["file_id"] = str(refusal.__cause__)
            if shop.dialect == "glm":
                told = {"error": {"code": refusal.error["code"] or "1200", "message": refusal.error["message"]}}
        if fault:  # it is done; only the answer is lost
            time.sleep(fault.seconds)
            status, told = fault.status, fault.body or {"error": {"message": "Bad gateway"}}
        self.say(status, told, extra)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def say(self, status, told, headers):
        kind = "text/html" if isinstance(told, str) else "application/json"
        raw = told.encode() if isinstance(told, str) else json.dumps(told, ensure_ascii=False).encode()
        try:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)
        except OSError:  # the client has stopped waiting
            self.close_connection = True


def parts_of(headers: Message, raw: bytes):
    """The fields of a form, files among them, each in its order."""
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    form: dict[str, Any] = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + raw).iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        form[name] = Upload(part.get_filename(), content) if part.get_filename() else content.decode()
    return form


@contextmanager
def closed_port():
    """An address where nobody listens."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()
