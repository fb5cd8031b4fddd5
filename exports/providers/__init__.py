"""The menu of fine-tune providers, in the order people see it."""

from exports.errors import UnknownProvider

from .base import Provider, Remote, Trainer
from .glm import GLM
from .local import Local
from .openai import OpenAI
from .together import Together

__all__ = ["Provider", "Remote", "Trainer", "choices", "get", "remote_choices"]

MENU: list[Provider] = [Local(), OpenAI(), GLM(), Together()]
_by_name = {provider.name: provider for provider in MENU}


def get(name: str) -> Provider:
    """The provider called `name`; UnknownProvider, naming the known ones, where there is none."""
    try:
        return _by_name[name]
    except KeyError:
        raise UnknownProvider(
            f"unknown provider {name!r}; known: {', '.join(_by_name)}", known=list(_by_name)
        ) from None


def choices() -> list[tuple[str, str]]:
    """For a model field: (name, title) in menu order."""
    return [(provider.name, provider.label) for provider in MENU]


def remote_choices() -> list[tuple[str, str]]:
    """Of these, the ones that are spoken to over the network and want an account."""
    return [(provider.name, provider.label) for provider in MENU if isinstance(provider, Remote)]
