"""TRL trains on what batches wrote: a step of a tiny model, made on the spot, offline.

TRL brings torch, several GB, so it is not in the dev extra: `pip install trl` beside it, and these run.
https://huggingface.co/docs/trl/dataset_formats
"""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
trl = pytest.importorskip("trl", reason="trl brings torch, several GB: not in the dev extra")

from datasets import load_dataset  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402

from .test_consumers import preferences, reviews, written  # noqa: E402, F401  (fixtures)

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = "{% for turn in messages %}<{{ turn['role'] }}>{{ turn['content'] }}</s>{% endfor %}"
STEP = {"max_steps": 1, "per_device_train_batch_size": 2, "use_cpu": True, "report_to": [], "save_strategy": "no"}


@pytest.fixture(scope="module")
def tokenizer():
    """Bytes, and what the few words of the tests have in common."""
    bytewise = Tokenizer(models.BPE())
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    special = ["<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bytewise.train_from_iterator(
        ["Classify the text"], trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bytewise, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", chat_template=CHAT
    )


def model(tokenizer, folder):
    """Where a tiny model lies, of which a trainer may load a second one to compare with."""
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **small)).save_pretrained(
        folder
    )
    return str(folder)


def rows_of(project, tmp_path, **asked):
    _, data = written(project, **asked)
    (tmp_path / "a.jsonl").write_bytes(data)
    return load_dataset("json", data_files=str(tmp_path / "a.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))


def learn(trainer, config, rows, tokenizer, tmp_path):
    how = {**STEP, "output_dir": str(tmp_path / "out")}
    tiny = model(tokenizer, tmp_path / "model")
    trained = trainer(tiny, args=config(**how), train_dataset=rows, processing_class=tokenizer).train()
    assert trained.global_step == 1
    assert trained.training_loss > 0


@pytest.mark.parametrize(
    ("format", "options"),
    [("openai", {}), ("openai", {"system_prompt": "Be brief."}), ("prompt-completion", {})],
)
def test_sft_learns_from(reviews, format, options, tokenizer, tmp_path):  # noqa: F811
    rows = rows_of(reviews, tmp_path, format=format, options=options)
    assert len(rows) == 40
    learn(trl.SFTTrainer, trl.SFTConfig, rows, tokenizer, tmp_path)


@pytest.mark.parametrize("options", [{}, {"system_prompt": "Be brief."}])
def test_dpo_learns_from_trl_preference(preferences, options, tokenizer, tmp_path):  # noqa: F811
    rows = rows_of(preferences, tmp_path, format="trl-preference", options=options)
    learn(trl.DPOTrainer, trl.DPOConfig, rows, tokenizer, tmp_path)


def test_kto_learns_from_kto(preferences, tokenizer, tmp_path):  # noqa: F811
    rows = rows_of(preferences, tmp_path, format="kto")
    assert set(rows["label"]) == {True, False}
    learn(trl.KTOTrainer, trl.KTOConfig, rows, tokenizer, tmp_path)
