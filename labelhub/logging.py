"""How the hub logs: one JSON object a line, or readable lines on a terminal; secrets never. https://www.structlog.org"""

import re
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

HIDDEN = "[hidden]"
_secret_name = re.compile(
    r"(password|passwd|secret|secret_?key|api_?key|token|bearer|authorization|cookie|csrf\w*|sessionid|signature"
    r"|credentials?)$",
    re.IGNORECASE,
)
_secrets_in_text = [
    (re.compile(r"(?i)\b(bearer|basic|token)(\s+)[\w.~+/=-]{8,}"), rf"\1\2{HIDDEN}"),
    (re.compile(r"\blh[0-9a-f]{24}\.[0-9a-f]+"), HIDDEN),  # an access key and its secret
    (re.compile(r"(?i)([?&][^=&\s]*(?:password|secret|key|token|signature|authorization)=)[^&\s\"']+"), rf"\1{HIDDEN}"),
    (re.compile(r"(\w://[^:/@\s]*:)[^@/\s]+@"), rf"\1{HIDDEN}@"),  # postgres://user:password@host
]
_quiet_pages = ("GET /healthz", "GET /readyz", "HEAD /healthz", "HEAD /readyz")


def hide_secrets(logger: Any, method: str, event: EventDict) -> EventDict:
    """The event without passwords, keys and tokens, wherever in it they stand."""
    return {name: HIDDEN if _secret_name.search(name) and value else _cleaned(value) for name, value in event.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        for pattern, replacement in _secrets_in_text:
            value = pattern.sub(replacement, value)
    elif isinstance(value, dict):
        value = {
            name: HIDDEN if isinstance(name, str) and _secret_name.search(name) and inner else _cleaned(inner)
            for name, inner in value.items()
        }
    elif isinstance(value, list | tuple):
        value = [_cleaned(inner) for inner in value]
    return value


def leave_out_health_checks(logger: Any, method: str, event: EventDict) -> EventDict:
    """Drop the line of a health check that went well: there is one every few seconds."""
    if event.get("event") == "request_finished" and event.get("code") == 200 and event.get("request") in _quiet_pages:
        raise structlog.DropEvent
    return event


# What structlog's own events and those of the standard library go through alike.
_shared: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def formatter(*, as_json: bool) -> structlog.stdlib.ProcessorFormatter:
    """What turns a log record into a line."""
    # Plain tracebacks: the richer ones print local variables, and with them secrets.
    ending: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        hide_secrets,
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared, processors=ending)


def configuration(*, level: int, as_json: bool) -> dict[str, Any]:
    """Set structlog up and return Django's LOGGING; everything goes to standard error."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared,
            leave_out_health_checks,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "labelhub.logging.formatter", "as_json": as_json}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "django.request": {"level": "CRITICAL"},  # django-structlog's request_finished and request_failed say it
            "axes": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},  # it writes whole addresses, and a signed one is a key
            "openai": {"level": "WARNING"},
            "_granian": {"handlers": [], "propagate": True},
        },
    }
