"""The local trainer: no account, no GPU, this machine."""

from .base import Provider


class Local(Provider):
    name = "local"
    label = "This machine (TF-IDF + linear classifier)"
