"""LLaMA-Factory trains on what a bundle holds: a step of a tiny model, made on the spot, by its own command, offline.

Its versions of `datasets` and `transformers` are older than ours, so it lives in a venv of its own: with that venv's
`llamafactory-cli` on the PATH, these run. https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .test_consumers import SPLIT, reviews, unzipped, written  # noqa: F401  (a fixture)

CLI = shutil.which("llamafactory-cli")
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CLI is None, reason="llamafactory-cli is not on the PATH: it brings torch, several GB"),
]
OFFLINE = {"HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1", "CUDA_VISIBLE_DEVICES": "", "USE_MODELSCOPE_HUB": "0"}

MODEL = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
bytewise = Tokenizer(models.BPE())
bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bytewise.decoder = decoders.ByteLevel()
bytewise.train_from_iterator(["Classify the text"], trainers.BpeTrainer(
    vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
words = PreTrainedTokenizerFast(tokenizer_object=bytewise, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
words.save_pretrained(sys.argv[1])
LlamaForCausalLM(LlamaConfig(vocab_size=len(words), max_position_embeddings=512, hidden_size=16, intermediate_size=16,
    num_hidden_layers=1, num_attention_heads=2)).save_pretrained(sys.argv[1])
"""


def run(*command, **how):
    done = subprocess.run(command, env={**os.environ, **OFFLINE}, capture_output=True, text=True, timeout=300, **how)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Where a tiny model lies, made by the Python that the command runs in."""
    folder = tmp_path_factory.mktemp("model")
    run(str(Path(CLI).parent / "python"), "-c", MODEL, str(folder))
    return folder


@pytest.mark.parametrize(
    ("format", "system_prompt"),
    [("alpaca", "Be brief."), ("sharegpt", "Be brief."), ("openai", "Be brief."), ("prompt-completion", "")],
)
def test_it_finds_the_parts_by_dataset_info_and_learns_a_step(reviews, format, system_prompt, model, tmp_path):  # noqa: F811
    options = {"bundle": True} | ({"system_prompt": system_prompt} if system_prompt else {})
    _, data = written(reviews, format=format, ratios=SPLIT, options=options)
    folder, out = unzipped(data, tmp_path / "bundle"), tmp_path / "out"
    asked = {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_train": True,
        "do_eval": True,
        "finetuning_type": "full",
        "template": "default",
        "dataset_dir": str(folder),
        "dataset": "reviews_train",
        "eval_dataset": "reviews_val",
        "cutoff_len": 512,
        "output_dir": str(out),
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "report_to": "none",
        "save_strategy": "no",
    }
    (tmp_path / "train.json").write_text(json.dumps(asked))
    said = run(CLI, "train", str(tmp_path / "train.json"), cwd=tmp_path)
    rows = {part: len((folder / f"{part}.jsonl").read_text().splitlines()) for part in ("train", "val")}
    assert f"Num examples = {rows['train']}" in said.replace(",", "")
    assert f"Num examples = {rows['val']}" in said.replace(",", "")
    result = json.loads((out / "all_results.json").read_text())
    assert result["train_loss"] > 0
    assert result["eval_loss"] > 0
    assert system_prompt in said  # the first example, as it will be learnt
