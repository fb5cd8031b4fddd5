"""LabelHub: raw texts and images in, reviewed training files and fine-tuned models out."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("labelhub")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
