"""Who may do what with what leaves: answered from the same project roles."""

import rules

from labelhub.accounts.roles import Power
from samples.permissions import register

NEEDS = {
    "exports.view_batch": Power.EXPORT,
    "exports.add_batch": Power.EXPORT,
    "exports.change_batch": Power.EXPORT,
    "exports.download_batch": Power.EXPORT,
    "exports.view_batchitem": Power.EXPORT,
    "exports.view_keptsplit": Power.EXPORT,
    "exports.view_finetune": Power.FINETUNE,
    "exports.add_finetune": Power.FINETUNE,
    "exports.change_finetune": Power.FINETUNE,
    "exports.view_provideraccount": Power.MANAGE,
    "exports.add_provideraccount": Power.MANAGE,
    "exports.change_provideraccount": Power.MANAGE,
    "exports.view_predictionrun": Power.FINETUNE,
    "exports.add_predictionrun": Power.FINETUNE,
    "exports.change_predictionrun": Power.FINETUNE,
    "exports.view_modelversion": Power.VIEW,
    "exports.view_modeltag": Power.VIEW,
    "exports.add_modeltag": Power.FINETUNE,
    "exports.change_modeltag": Power.FINETUNE,
    "exports.delete_modeltag": Power.FINETUNE,
}

register(NEEDS)
rules.add_perm("exports", rules.is_staff)
