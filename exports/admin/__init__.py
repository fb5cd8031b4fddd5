"""What leaves, in the admin: the export form, batches and their files, fine-tunes and models."""

from . import batches, finetunes, selecting

__all__ = ["batches", "finetunes", "selecting"]
