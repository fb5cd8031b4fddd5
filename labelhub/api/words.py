"""Who may do what, in the words of each contract and in ours: the one table that the rooms ask and /admin/roles/ shows."""

from typing import NamedTuple

from labelhub.accounts.roles import POWERS, Power, Role


class Word(NamedTuple):
    """What a contract calls a permission or a person, and which of our powers it takes."""

    contract: str
    word: str
    power: Power
    opens: str

    @property
    def roles(self) -> list[Role]:
        return [role for role in Role if self.power in POWERS[role]]


UIPATH, LABEL_BACKEND, DLOOPIQ, QIANFAN = "UiPath", "label_backend", "DLoopIQ", "Qianfan"

WORDS = (
    Word(DLOOPIQ, "acheteur (buyer)", Power.EXPORT, "GET exports: the tasks of the projects exported from"),
    Word(DLOOPIQ, "acheteur (buyer), ordering", Power.IMPORT, "POST tasks; his own orders make him a buyer there"),
    Word(LABEL_BACKEND, "ADMIN", Power.MANAGE, "all five endpoints, each for the projects managed"),
    Word(QIANFAN, "access key, reading", Power.VIEW, "dataset/info, statusList, entity/list, DescribeDatasets"),
    Word(QIANFAN, "access key, annotating", Power.ANNOTATE, "entity/annotate (a new text for the prompt: import too)"),
    Word(QIANFAN, "access key, exporting", Power.EXPORT, "dataset/export, exportRecord, CreateExportTask"),
    Word(QIANFAN, "access key, managing", Power.MANAGE, "entity/delete, dataset/delete (dataset/create: staff)"),
    Word(UIPATH, "voc-readonly", Power.VIEW, "View labels: list and read datasets, statistics, query"),
    Word(UIPATH, "voc", Power.MANAGE, "Modify datasets: create one, define labels"),
    Word(UIPATH, "datasets-admin", Power.MANAGE, "Datasets admin: change, delete"),
    Word(UIPATH, "datasets-export", Power.EXPORT, "Export datasets"),
    Word(UIPATH, "datasets-model-admin", Power.FINETUNE, "Model admin: model tags"),
    Word(UIPATH, "datasets-review", Power.ANNOTATE, "Review and annotate: labellings, sync-annotations"),
    Word(UIPATH, "sources-read", Power.VIEW, "View sources and their comments"),
    Word(UIPATH, "sources-admin", Power.MANAGE, "Sources admin: create, change, delete; delete comments"),
    Word(UIPATH, "sources-add-comments", Power.IMPORT, "Edit messages: put and sync comments"),
    Word(UIPATH, "users-read", Power.VIEW, "see who shares a project"),
    Word(UIPATH, "users-write", Power.MANAGE, "name a new project's managers"),
)


def powers(contract: str) -> dict[str, Power]:
    """The words of `contract`, each with the power it takes."""
    return {row.word: row.power for row in WORDS if row.contract == contract}
