"""The contract's paths."""

from django.urls import path

from .views import actions, datasets, entities, exports

v1 = [
    path("entity/list", entities.EntityList.as_view()),
    path("entity/annotate", entities.EntityAnnotate.as_view()),
    path("entity/delete", entities.EntityDelete.as_view()),
    path("entity/content/<str:token>", entities.content, name="qianfan-entity"),
    path("dataset/create", datasets.DatasetCreate.as_view()),
    path("dataset/info", datasets.DatasetInfo.as_view()),
    path("dataset/statusList", datasets.DatasetStatusList.as_view()),
    path("dataset/export", exports.DatasetExport.as_view()),
    path("dataset/exportRecord", exports.DatasetExportRecord.as_view()),
    path("dataset/delete", datasets.DatasetDelete.as_view()),
]
v2 = [path("dataset", actions.DatasetActions.as_view())]
