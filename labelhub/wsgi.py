"""The WSGI door. There is no ASGI one: under ASGI a streamed export would be swallowed whole before its first byte."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")
application = get_wsgi_application()
