"""The WSGI door. There is no ASGI one: under ASGI a streamed export would be swallowed whole before its first byte."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from labelhub.hangup import HangingUp

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
application = HangingUp(get_wsgi_application())

# What every request needs is loaded now and stays: the collector need not look through it again and again, which made
# one request in some dozens wait for a tenth of a second.
get_resolver().url_patterns  # noqa: B018
gc.collect()
gc.freeze()
