"""What leaves, in the admin: the export form, batches and their files, fine-tunes and models."""

from . import accounts, batches, finetunes, guessing, selecting, versions

__all__ = ["accounts", "batches", "finetunes", "guessing", "selecting", "versions"]
