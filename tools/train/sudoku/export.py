"""Write the trained Sudoku models as checkpoint folders: weights, configuration, tokenizer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import MODELS, RUNS, write_json

from foresight.tasks.sudoku import BLANK, CELLS, MASK, VOCABULARY

# Per kind: the bundled name, and how the model is read.
KINDS = {
    "semi_causal": ("sudoku", {"attention": "semi_causal", "shifted": False, "mask_token_id": BLANK}),
    "causal": ("sudoku-ar", {"attention": "causal", "shifted": True, "mask_token_id": None}),
    "multi_token": ("sudoku-mtp", {"attention": "full", "shifted": False, "mask_token_id": MASK}),
}


def make_tokenizer() -> Tokenizer:
    """One token per cell."""
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=VOCABULARY[BLANK]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def export(checkpoint: Path, folder: Path, reading: dict[str, object]) -> None:
    """Write the averaged weights in `checkpoint` to `folder`, in bfloat16."""
    state = torch.load(checkpoint, weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.bfloat16().contiguous() for name, tensor in state["average"].items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    write_json(
        folder / "config.json",
        {
            "model_type": "foresight_qwen3",
            **state["config"],
            **reading,
            "eos_token_id": None,
            "hidden_act": "silu",
            "tie_word_embeddings": True,
            "dtype": "bfloat16",
        },
    )
    if reading["attention"] != "semi_causal":
        write_json(folder / "generation_config.json", {"max_new_tokens": CELLS})
    make_tokenizer().save(str(folder / "tokenizer.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--out", type=Path, default=MODELS)
    options = parser.parse_args()
    for kind, (name, reading) in KINDS.items():
        export(options.runs / f"sudoku-{kind}" / "best.pt", options.out / name, reading)


if __name__ == "__main__":
    main()
