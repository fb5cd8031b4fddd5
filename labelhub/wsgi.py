"""The WSGI door. There is no ASGI one: under ASGI a streamed export would be swallowed whole before its first byte."""

import os

from django.core.wsgi import get_wsgi_application

from labelhub.hangup import HangingUp

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
application = HangingUp(get_wsgi_application())
