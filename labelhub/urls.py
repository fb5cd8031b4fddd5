"""The front door: which path leads to which room."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from labelhub import health
from labelhub.api import links, tokens
from labelhub.api.dloopiq import urls as dloopiq
from labelhub.api.dloopiq.envelope import error as dloopiq_error
from labelhub.api.errors import Doors, plain
from labelhub.api.label_backend import urls as label_backend
from labelhub.api.label_backend.envelope import error as label_backend_error
from labelhub.api.native import urls as native
from labelhub.api.native.views import documentation
from labelhub.api.projects_door import Projects
from labelhub.api.qianfan import urls as qianfan
from labelhub.api.qianfan.envelope import error as qianfan_error
from labelhub.api.qianfan.envelope import error_v2 as qianfan_error_v2
from labelhub.api.tasks_door import Tasks
from labelhub.api.uipath import urls as uipath
from labelhub.api.uipath.envelope import error as uipath_error

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", include("labelhub.pages")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("api/auth/token", tokens.ObtainToken.as_view()),
    path("api/auth/token/refresh", tokens.RefreshTokenView.as_view()),
    path("api/auth/refresh", tokens.RefreshTokenView.as_view()),
    path("api/v1/", include(dloopiq.urlpatterns)),
    path("api/schema", documentation.Schema.as_view(), name="schema"),
    path("api/docs", documentation.Docs.as_view(), name="docs"),
    path("api/v1/", include(native.paths(projects=Projects, tasks=Tasks))),
    path("api/v1/", include(uipath.public)),
    path("api/_private/", include(uipath.private)),
    path("auth/", include(uipath.auth)),
    path("api/", include(label_backend.urlpatterns)),
    path("wenxinworkshop/", include(qianfan.v1)),
    path("v2/", include(qianfan.v2)),
    path("links/", include(links)),
]

# Where no view answers, or one breaks: in the words of the room the path belongs to, the longest beginning first.
doors = Doors(
    {
        "/api": plain,
        "/api/export": label_backend_error,
        "/api/training": label_backend_error,
        "/api/v1/exports": dloopiq_error,
        "/api/v1/datasets": uipath_error,
        "/api/v1/sources": uipath_error,
        "/api/_private": uipath_error,
        "/auth": uipath_error,
        "/links": plain,
        "/v2": qianfan_error_v2,
        "/wenxinworkshop": qianfan_error,
    }
)
handler400 = doors.bad_request
handler403 = doors.permission_denied
handler404 = doors.page_not_found
handler500 = doors.server_error
