"""Zhipu GLM: OpenAI's protocol with words of its own. https://docs.bigmodel.cn (fine-tuning)"""

from collections.abc import Mapping
from typing import ClassVar

from .base import Number
from .openai import OpenAI, suffix_of


class GLM(OpenAI):
    name = "glm"
    label = "Zhipu GLM"
    address = "https://open.bigmodel.cn/api/paas/v4"
    most_bytes = 100_000_000
    parameters: ClassVar[Mapping[str, Number]] = {
        name: OpenAI.parameters[name] for name in ("n_epochs", "batch_size", "learning_rate_multiplier")
    }
    accepts: ClassVar[Mapping[str, str]] = {"openai": "supervised"}

    def order(self, finetune):
        """No method, metadata or seed; a request id, the same however often it is asked."""
        chosen = dict(finetune.hyperparameters)
        order = {
            "model": finetune.model,
            "training_file": finetune.provider_files["train"],
            "suffix": chosen.pop("suffix", suffix_of(finetune)),
            "extra_body": {"request_id": str(finetune.uuid)},
        }
        if "val" in finetune.provider_files:
            order["validation_file"] = finetune.provider_files["val"]
        if chosen:
            order["hyperparameters"] = chosen
        return order
