"""fs.losses against definitions, enumeration and numerical gradients."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import foresight as fs
from foresight import losses

LOSSES = ("lk_alpha", "lk_lambda", "lk_hybrid")


def logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def overlap(draft, target):
    """Sum of the lesser probability, token by token."""
    q, p = draft.softmax(-1), target.softmax(-1)
    return torch.tensor([[min(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(p, q, strict=True)]).sum(-1)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    loss = getattr(losses, name)
    draft, target = logits(4, 7, seed=1).requires_grad_(), logits(4, 7, seed=2)
    mask = torch.tensor([True, False, True, True])
    # lam is held: at eta 0 it does not move, and the whole loss can be differentiated numerically.
    options = {} if name == "lk_alpha" else {"eta": 0.0}
    assert torch.autograd.gradcheck(lambda x: loss(x, target, mask=mask, **options), (draft,))
    assert torch.autograd.gradcheck(lambda x: losses.acceptance_rate(x, target, mask=mask), (draft,))


def test_values_are_those_of_the_definitions():
    draft, target = 3 * logits(5, 6, seed=3), 3 * logits(5, 6, seed=4)
    alpha = overlap(draft, target)
    assert torch.allclose(losses.acceptance_rate(draft, target, reduction="none"), alpha)
    assert torch.allclose(losses.lk_alpha(draft, target, reduction="none"), -alpha.log())
    p = target.softmax(-1)
    kl = (p * (p.log() - draft.log_softmax(-1))).sum(-1)
    lam = torch.exp(-3 * alpha)
    assert torch.allclose(losses.lk_lambda(draft, target, reduction="none"), lam * kl + (1 - lam) * (1 - alpha))
    common = torch.exp(-3 * alpha.mean())
    assert torch.allclose(losses.lk_hybrid(draft, target), (common * kl + (1 - common) * (1 - alpha)).mean())
    # The gradient of -log alpha is that of the total variation over alpha.
    draft = draft.clone().requires_grad_()
    (mine,) = torch.autograd.grad(losses.lk_alpha(draft, target, reduction="sum"), draft)
    (variation,) = torch.autograd.grad((1 - losses.acceptance_rate(draft, target, reduction="none")).sum(), draft)
    assert torch.allclose(mine, variation / alpha[:, None])


def test_no_gradient_flows_through_lambda_or_the_target():
    draft, target = logits(3, 5, seed=5).requires_grad_(), logits(3, 5, seed=6).requires_grad_()
    value = losses.lk_lambda(draft, target, reduction="sum")
    (got,) = torch.autograd.grad(value, draft)
    alpha = losses.acceptance_rate(draft, target, reduction="none")
    lam = torch.exp(-3 * alpha).detach()
    p = target.softmax(-1).detach()
    kl = (p * (p.log() - draft.log_softmax(-1))).sum(-1)
    (wanted,) = torch.autograd.grad((lam * kl + (1 - lam) * (1 - alpha)).sum(), draft)
    assert torch.allclose(got, wanted)
    assert not losses.lk_alpha(draft.detach(), target).requires_grad


def test_of_a_certain_target_lk_alpha_is_cross_entropy():
    draft = logits(6, 9, seed=7)
    tokens = torch.arange(6)
    target = torch.full((6, 9), -torch.inf, dtype=torch.float64).scatter(1, tokens[:, None], 0.0)
    wanted = torch.nn.functional.cross_entropy(draft, tokens)
    assert torch.allclose(losses.lk_alpha(draft, target), wanted)


@pytest.mark.parametrize("name", LOSSES)
def test_a_reduced_vocabulary_loses_what_it_lacks(name):
    ids = torch.tensor([4, 0, 2])
    draft, target = logits(5, 3, seed=8), logits(5, 6, seed=9)
    wide = torch.full((5, 6), -torch.inf, dtype=torch.float64)
    wide[:, ids] = draft
    mapped = losses.acceptance_rate(draft, target, draft_to_target=ids)
    assert torch.allclose(mapped, losses.acceptance_rate(wide, target))
    value = getattr(losses, name)(draft, target, draft_to_target=ids, reduction="none")
    inside = target[:, ids].log_softmax(-1)
    alpha = torch.minimum(draft.softmax(-1), target.softmax(-1)[:, ids]).sum(-1)
    kl = (inside.exp() * (inside - draft.log_softmax(-1))).sum(-1)
    lam = torch.exp(-3 * (alpha.mean() if name == "lk_hybrid" else alpha))
    assert torch.allclose(value, -alpha.log() if name == "lk_alpha" else lam * kl + (1 - lam) * (1 - alpha))


@pytest.mark.parametrize("name", LOSSES)
def test_a_target_with_nothing_in_the_reduced_vocabulary_gives_a_finite_loss(name):
    draft = logits(1, 2, seed=14).requires_grad_()
    target = torch.tensor([[0.0, -torch.inf, -torch.inf]], dtype=torch.float64)
    value = getattr(losses, name)(draft, target, draft_to_target=torch.tensor([1, 2]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(draft.grad).all()
    if name != "lk_alpha":
        # alpha = 0, so lam = 1: only KL counts, and there is no distribution to renormalise.
        assert value == 0


@pytest.mark.parametrize("name", LOSSES)
def test_temperature_divides_both_sides(name):
    draft, target = logits(4, 5, seed=15), logits(4, 5, seed=16)
    warm = getattr(losses, name)(draft, target, temperature=0.5)
    assert torch.allclose(warm, getattr(losses, name)(2 * draft, 2 * target))
    rate = losses.acceptance_rate(draft, target, temperature=0.5)
    assert torch.allclose(rate, losses.acceptance_rate(2 * draft, 2 * target))


@pytest.mark.parametrize("name", LOSSES)
def test_reductions_agree(name):
    loss = getattr(losses, name)
    draft, target = logits(2, 3, 5, seed=17), logits(2, 3, 5, seed=18)
    mask = torch.tensor([[True, False, True], [False, False, True]])
    each = loss(draft, target, mask=mask, reduction="none")
    assert each.shape == mask.shape
    assert (each[~mask] == 0).all()
    total = loss(draft, target, mask=mask, reduction="sum")
    assert torch.allclose(each.sum(), total)
    assert torch.allclose(total / 3, loss(draft, target, mask=mask))


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32(name):
    draft, target = logits(4, 5, seed=19).bfloat16(), logits(4, 5, seed=20).bfloat16()
    value = getattr(losses, name)(draft, target)
    assert value.dtype == torch.float32
    assert torch.equal(value, getattr(losses, name)(draft.float(), target.float()))
    assert losses.acceptance_rate(draft, target).dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
def test_what_stands_at_masked_positions_does_not_matter(name):
    loss = getattr(losses, name)
    draft, target = logits(4, 5, seed=10), logits(4, 5, seed=11)
    mask = torch.tensor([True, False, True, False])
    wanted = loss(draft[mask], target[mask])
    draft[1], target[3] = torch.nan, torch.inf
    draft.requires_grad_()
    value = loss(draft, target, mask=mask)
    assert torch.allclose(value, wanted)
    value.backward()
    assert torch.isfinite(draft.grad).all()
    assert loss(draft, target, mask=torch.zeros(4, dtype=torch.bool)) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_hopeless_drafts_give_finite_losses(name):
    draft = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    target = torch.tensor([[-200.0, 0.0, 200.0]])
    value = getattr(losses, name)(draft, target)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(draft.grad).all()
    if name == "lk_alpha":
        assert draft.grad.abs().max() > 0.4, "the gradient does not vanish where the overlap does"


def test_numpy_measures_what_torch_measures():
    draft, target = logits(4, 6, seed=12), logits(4, 6, seed=13)
    mask = torch.tensor([True, True, False, True])
    for reduction in ("mean", "sum", "none"):
        mine = losses.acceptance_rate(draft.numpy(), target.numpy(), mask=mask.numpy(), reduction=reduction)
        theirs = losses.acceptance_rate(draft, target, mask=mask, reduction=reduction)
        assert np.allclose(mine, theirs.numpy())
    ids = torch.tensor([5, 1, 2])
    mine = losses.acceptance_rate(draft[:, :3].numpy(), target.numpy(), draft_to_target=ids.numpy(), temperature=0.7)
    theirs = losses.acceptance_rate(draft[:, :3], target, draft_to_target=ids, temperature=0.7)
    assert np.allclose(mine, theirs.numpy())
    alphas = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert np.allclose(losses.expected_block_length(alphas.numpy()), losses.expected_block_length(alphas).numpy())


def test_the_expected_block_length_is_that_of_enumeration():
    alphas = np.array([0.9, 0.5, 0.8])
    expected = 0.0
    for accepted in range(4):
        stop = 1.0 if accepted == 3 else 1 - alphas[accepted]
        expected += np.prod(alphas[:accepted]) * stop * (accepted + 1)
    assert losses.expected_block_length(alphas) == pytest.approx(expected)
    assert losses.expected_block_length(0.8, num_draft_tokens=7) == pytest.approx((1 - 0.8**8) / 0.2)


def test_the_rate_is_what_the_engine_accepts():
    lm = fs.LM.bundled("reasoner", dtype="float32")
    twin = fs.LM.bundled("reasoner-draft", dtype="float32")
    prompts = [problem.prompt for problem in fs.tasks.get("reasoner").problems(40)]
    options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "seed": 1, "max_new_tokens": 120}
    decoding = fs.Speculative(twin, 1, verification="token", adaptive=False)
    out = lm.generate(prompts, decoding=decoding, return_dict_in_generate=True, **options)
    rates = []
    for mine, theirs, new in zip(lm.logits(out.sequences), twin.logits(out.sequences), out.new_tokens, strict=True):
        rates.append(losses.acceptance_rate(theirs[-len(new) - 1 : -1], mine[-len(new) - 1 : -1], reduction="none"))
    assert out.stats.accepted_tokens / out.stats.drafted_tokens == pytest.approx(np.concatenate(rates).mean(), abs=0.04)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((np.zeros((2, 3)), np.zeros((2, 4))), ValueError),
        ((np.zeros((2, 3)), np.zeros((3, 3))), ValueError),
        ((np.zeros((2, 3)), torch.zeros(2, 3)), TypeError),
        ((np.zeros((2, 3), int), np.zeros((2, 3))), TypeError),
        (([[0.0]], [[0.0]]), TypeError),
        ((np.zeros(()), np.zeros(())), ValueError),
    ],
)
def test_bad_arguments_are_named(arguments, error):
    with pytest.raises(error, match=r"logits|vocabulary"):
        losses.acceptance_rate(*arguments)


def test_bad_options_are_named():
    draft = torch.zeros(2, 3)
    for options, message in (
        ({"reduction": "avg"}, "reduction"),
        ({"temperature": 0}, "temperature"),
        ({"mask": torch.ones(3, dtype=torch.bool)}, "mask"),
        ({"eta": -1.0}, "eta"),
        ({"draft_to_target": torch.tensor([0, 1, 9])}, "0..2"),
        ({"draft_to_target": torch.tensor([0, 1, 1])}, "twice"),
    ):
        with pytest.raises(ValueError, match=message):
            losses.lk_lambda(draft, draft, **options)
    for bad in (lambda: losses.expected_block_length([1.5]), lambda: losses.expected_block_length(0.5)):
        with pytest.raises(ValueError, match="alphas"):
            bad()


def test_the_measures_do_without_torch():
    code = (
        "import sys, numpy as np, foresight as fs\n"
        "fs.losses.acceptance_rate(np.zeros((2, 3)), np.zeros((2, 3)))\n"
        "fs.losses.expected_block_length([0.5])\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
