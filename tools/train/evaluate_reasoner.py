"""Measure the reasoner with plain PyTorch: accuracy, majority vote, thought lengths, forced answers by depth."""

from __future__ import annotations

import argparse
import json
import platform
import random
import shlex
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from common import MODELS, ROOT
from qwen3 import Qwen3, Qwen3Config
from safetensors.torch import load_file
from sampling import sample

from foresight.tasks.base import Problem
from foresight.tasks.reasoner import ANSWER, EOS, VOCABULARY, ReasonerTask, encode

END = VOCABULARY.index(EOS)
MARKER = VOCABULARY.index(ANSWER)
MAX_NEW = 768
ROWS = 512
DEPTHS = tuple(tenth / 10 for tenth in range(11))


def load_model(folder: Path) -> Qwen3:
    """Load an exported checkpoint in float32."""
    settings = json.loads((folder / "config.json").read_text())
    known = {name: settings[name] for name in Qwen3Config.__dataclass_fields__ if name in settings}
    model = Qwen3(Qwen3Config(**known)).eval()
    weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(weights)
    return model


def load_run(path: Path) -> Qwen3:
    """Load a training checkpoint, rounded to bfloat16 as it would be exported."""
    state = torch.load(path, weights_only=True)
    model = Qwen3(Qwen3Config(**state["config"])).eval()
    model.load_state_dict({name: tensor.bfloat16().float() for name, tensor in state["model"].items()})
    return model


def sample_all(model: Qwen3, prompts: list[list[int]], max_new: int, greedy: bool = False) -> list[list[int]]:
    """Sample for every prompt, longest prompts together."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    new: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        for row, tokens in zip(rows, sample(model, [prompts[i] for i in rows], max_new, END, greedy), strict=True):
            new[row] = tokens
    return new


def percentile(values: list[int], share: float) -> int:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def thought_length(tokens: list[int]) -> int:
    """Tokens before the answer marker (all of them, where there is none)."""
    return tokens.index(MARKER) if MARKER in tokens else len(tokens)


def votes(task: ReasonerTask, problems: list[Problem], new: list[list[int]], width: int) -> dict[str, object]:
    """Accuracy of one sample, of the majority of `width`, and how they depend on size, length and each other."""
    answers = [task.answer(tokens) for tokens in new]
    singles, majority, by_size = [], 0, {}
    lengths = [thought_length(tokens) for tokens in new]
    within, longer_is_wrong = [], []
    for index, problem in enumerate(problems):
        group = slice(index * width, (index + 1) * width)
        right = [answer == problem.answer for answer in answers[group]]
        singles += right
        counts = Counter(answer for answer in answers[group] if answer is not None)
        won = bool(counts) and counts.most_common(1)[0][0] == problem.answer
        majority += won
        by_size.setdefault(problem.size, []).append((sum(right) / width, won))
        own = lengths[group]
        within.append(percentile(own, 0.9) / max(1, percentile(own, 0.1)))
        halves = sorted(zip(own, right, strict=True), key=lambda pair: pair[0])
        half = width // 2
        longer_is_wrong.append(
            sum(r for _, r in halves[:half]) / half - sum(r for _, r in halves[half:]) / (width - half)
        )
    low, middle, high = (percentile(lengths, share) for share in (0.1, 0.5, 0.9))
    return {
        "single_sample_accuracy": sum(singles) / len(singles),
        f"majority_accuracy_at_{width}": majority / len(problems),
        "no_answer_share": sum(answer is None for answer in answers) / len(answers),
        "unfinished_share": sum(tokens[-1] != END for tokens in new) / len(new),
        "thought_tokens": {
            "p10": low,
            "p50": middle,
            "p90": high,
            "max": max(lengths),
            "mean": sum(lengths) / len(lengths),
            "p90_over_p10": high / low,
            "median_p90_over_p10_within_a_problem": sorted(within)[len(within) // 2],
        },
        "accuracy_of_shorter_minus_longer_half": sum(longer_is_wrong) / len(longer_is_wrong),
        "by_size": {
            str(size): {
                "problems": len(pairs),
                "single": sum(single for single, _ in pairs) / len(pairs),
                "majority": sum(won for _, won in pairs) / len(pairs),
            }
            for size, pairs in sorted(by_size.items())
        },
    }


def forced(model: Qwen3, task: ReasonerTask, problems: list[Problem], thoughts: list[list[int]]) -> dict[str, float]:
    """Accuracy of the greedy answer after the probe suffix, by the share of the thought that was written."""
    suffix = encode(task.probe_suffix)
    result = {}
    for depth in DEPTHS:
        prompts = []
        for problem, tokens in zip(problems, thoughts, strict=True):
            prompts.append([*problem.prompt, *tokens[: round(depth * thought_length(tokens))], *suffix])
        found = sample_all(model, prompts, 4, greedy=True)
        right = sum(task.answer(tokens) == problem.answer for problem, tokens in zip(problems, found, strict=True))
        result[f"{depth:.1f}"] = right / len(problems)
    return result


def machine() -> dict[str, object]:
    """Describe this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(names) or None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--width", type=int, default=32, help="samples per problem")
    parser.add_argument("--split", default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=MODELS / "reasoner", help="exported folder, or a run's .pt file")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "reasoner.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    started = time.monotonic()
    model = load_run(options.model) if options.model.suffix == ".pt" else load_model(options.model)
    task = ReasonerTask()
    problems = task.problems(options.problems, options.seed, options.split)
    repeated = [problem.prompt for problem in problems for _ in range(options.width)]
    new = sample_all(model, repeated, MAX_NEW)
    result = votes(task, problems, new, options.width)
    rng = random.Random(options.seed)
    picks = [index * options.width + rng.randrange(options.width) for index in range(len(problems)) for _ in range(4)]
    chosen = [problems[pick // options.width] for pick in picks]
    result["forced_answer_accuracy_by_depth"] = forced(model, task, chosen, [new[pick] for pick in picks])
    report = {
        "command": shlex.join(["python", "tools/train/evaluate_reasoner.py", *sys.argv[1:]]),
        "machine": machine(),
        "problems": len(problems),
        "samples_per_problem": options.width,
        "split": options.split,
        "seconds": round(time.monotonic() - started),
        **result,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
