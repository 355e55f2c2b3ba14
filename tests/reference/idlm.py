"""Introspective strided decoding: one causal forward verifies the last drafts and makes the next ones.

Source: arXiv 2604.11035; thuEcstasy/I-DLM idlm_blockN.py. Attention is causal for clean and mask rows alike and logits
are shifted: a mask row at p drafts the token at p + 1, and so does a clean row, of which that is the true distribution.

A round's forward is [pending, drafts, stride - 1 masks], `pending` being the last token committed. Without drafts
(cold) it commits one token from pending's row. With drafts (verify) it commits those accepted and one token more: a
corrected one at the first rejection, after which the next round is cold, or, if all were accepted, one from the last
draft's row. The masks then hold the next drafts; the published width is 2 * stride - 1 rows in either case.

Three rules say how a draft s is accepted against the model's p, q being the distribution that it was drafted from:
  published       s = argmax q, accepted with min(1, p(s) / q(s)), corrected from max(0, p - q): not exact unless greedy
  exact_argmax    s = argmax q, accepted with p(s), corrected from p without s: exact
  exact_sampled   s ~ q, accepted with min(1, p(s) / q(s)), corrected from max(0, p - q): exact
At temperature 0 distributions are one-hot and the rules agree. The mask has probability 0 in p and q. All in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from .chance import Choose, flip, law
from .network import Network
from .record import Run
from .rules import keep_top_k, keep_top_p, without

RULES = ("published", "exact_argmax", "exact_sampled")


@dataclass(frozen=True)
class Options:
    """temperature, top_k, top_p make p from logits; published: the last two act on tokens that no draft stood for.

    verify_alpha: published only; a draft is accepted with p(s) / q(s) / verify_alpha when p(s) < q(s).
    """

    mask_id: int
    stride: int = 4
    rule: str = "exact_argmax"
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    verify_alpha: float = 1.0
    eos_ids: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}, not one of {RULES}")

    def distribution(self, logits: Tensor, *, filters: bool) -> Tensor:
        """Logits [V] -> probabilities [V]."""
        logits = without(logits.double(), self.mask_id)
        if self.temperature == 0:
            return F.one_hot(logits.argmax(), len(logits)).double()
        logits = logits / self.temperature
        return (keep_top_p(keep_top_k(logits, self.top_k), self.top_p) if filters else logits).softmax(-1)

    def judge(self, p: Tensor, q: Tensor, draft: int) -> tuple[float, Tensor]:
        """The probability of accepting the draft, and what a rejected one is corrected from, not normalised."""
        if self.rule == "exact_argmax":
            return float(p[draft]), p.index_fill(0, torch.tensor([draft]), 0.0)
        ratio = float(p[draft] / q[draft])
        if self.rule == "published" and ratio < 1:
            ratio /= self.verify_alpha
        return min(1.0, ratio), (p - q).clamp(min=0)


@dataclass
class StridedRun(Run):
    """Also counts rounds without and with drafts, and the drafts that were verified and accepted."""

    cold: int = 0
    verify: int = 0
    drafted: int = 0
    accepted: int = 0
    drafts: list[list[int]] = field(default_factory=list)  # of each forward, those that it verified


def generate(network: Network, prompt: Sequence[int], new: int, choose: Choose, options: Options) -> StridedRun:
    """Prompt of P ids -> ids [1, at most P + new], cut after the first of eos_ids.

    Choices in order: for each draft its acceptance, then the correction of a rejected one; or the token behind the last
    draft, then (exact_sampled) the next drafts, unless the sequence is complete. A confidence is p of the token.
    """
    run = StridedRun(torch.tensor([[*prompt, *[options.mask_id] * new]]))
    end, place = run.ids.shape[1], len(prompt)
    drafts: list[tuple[int, Tensor]] = []

    def commit(token: int, p: Tensor) -> bool:
        """Whether the sequence is complete."""
        nonlocal place, end
        run.write(0, [place], {place: token}, {place: float(p[token])})
        place += 1
        if token in options.eos_ids:
            end = place
        return place == end

    while place < end:
        row = [*run.ids[0, :place].tolist(), *[draft for draft, _ in drafts], *[options.mask_id] * (options.stride - 1)]
        logits = network(torch.tensor([row]))[0, place - 1 :]
        run.forward(2 * options.stride - 1)
        run.cold += not drafts
        run.verify += bool(drafts)
        run.drafts.append([draft for draft, _ in drafts])
        judged, drafts = drafts, []
        for index, (draft, q) in enumerate(judged):
            run.drafted += 1
            p = options.distribution(logits[index], filters=options.rule != "published")
            acceptance, correction = options.judge(p, q, draft)
            accepted = flip(choose, acceptance)
            run.accepted += accepted
            if commit(draft if accepted else choose(correction / correction.sum()), p) or not accepted:
                break
        else:
            p = options.distribution(logits[len(judged)], filters=True)
            if commit(choose(p), p):
                break
            for masked in logits[len(judged) + 1 :]:
                q = options.distribution(masked, filters=options.rule != "published")
                drafts.append((choose(q) if options.rule == "exact_sampled" else int(q.argmax()), q))
    run.ids = run.ids[:, :end]
    return run


def autoregressive(network: Network, prompt: Sequence[int], new: int, choose: Choose, options: Options) -> list[int]:
    """Plain sampling of the same p, token by token: prompt and new ids."""
    ids = list(prompt)
    while len(ids) < len(prompt) + new and not (len(ids) > len(prompt) and ids[-1] in options.eos_ids):
        ids.append(choose(options.distribution(network(torch.tensor([ids]))[0, -1], filters=True)))
    return ids


def exact_laws(
    network: Network, prompt: Sequence[int], new: int, options: Options
) -> tuple[dict[tuple[int, ...], float], dict[tuple[int, ...], float]]:
    """Laws of the new ids under strided and plain sampling, by enumeration: for few tokens of a tiny vocabulary."""
    known: dict[tuple[int, ...], Tensor] = {}

    def remembered(ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        key = tuple(ids[0].tolist())
        if key not in known:
            known[key] = network(ids, attention_mask)
        return known[key]

    strided = law(
        lambda choose: tuple(generate(remembered, prompt, new, choose, options).ids[0, len(prompt) :].tolist())
    )
    plain = law(lambda choose: tuple(autoregressive(remembered, prompt, new, choose, options)[len(prompt) :]))
    return strided, plain  # type: ignore[return-value]
