"""Static files under names that carry their hash, gzipped when they are collected."""

from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFiles(CompressedManifestStaticFilesStorage):
    """WhiteNoise's, without Brotli: where some package brings it along, a server's first start would take half a minute more."""

    def create_compressor(self, **kwargs):
        return Compressor(**{**kwargs, "use_brotli": False})
