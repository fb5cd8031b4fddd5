"""The OpenAPI document, and the page people read it on: served from here alone, open to who has no token yet."""

from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.negotiation import DefaultContentNegotiation


@extend_schema(exclude=True)
class Schema(SpectacularAPIView):
    """YAML; JSON for `Accept: application/json` or `?format=json`."""

    content_negotiation_class = DefaultContentNegotiation


@extend_schema(exclude=True)
class Docs(SpectacularSwaggerSplitView):
    """Swagger's page over it."""

    url_name = "schema"
    content_negotiation_class = DefaultContentNegotiation
