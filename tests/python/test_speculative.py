"""fs.Speculative through the whole engine: the tokens, the law, the counters, and what goes wrong."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

import foresight as fs
from foresight.core_drafters import core_drafter
from support.law import is_far

TASK = fs.tasks.get("reasoner")
PROMPTS = [problem.prompt for problem in TASK.problems(5)]
PROMPTS[1] = PROMPTS[1][:7]
PROMPTS[3] = PROMPTS[3] + [20, 5, 20]
SAMPLED = {"do_sample": True, "temperature": 0.9, "top_k": 12, "top_p": 0.95, "min_p": 0.01, "repetition_penalty": 1.1}
NEW = 40


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def lm(request):
    return fs.LM.bundled("reasoner", dtype=request.param)


@pytest.fixture(scope="module")
def one():
    return fs.LM.bundled("reasoner")


class Echo(fs.Drafter):
    """Proposes what the sequence already holds: now and then it is right."""

    def propose(self, tokens):
        return list(tokens[-6:-2])


class Noise(fs.Drafter):
    """Draws its guesses, and says from what."""

    def __init__(self, vocab):
        self.vocab = vocab
        self.random = np.random.default_rng(7)

    def propose(self, tokens):
        rows = self.random.dirichlet(np.full(self.vocab, 0.1), size=3).astype(np.float32) + 1e-6
        rows /= rows.sum(axis=1, keepdims=True)
        ids = [int(self.random.choice(self.vocab, p=np.float64(row) / np.float64(row).sum())) for row in rows]
        return ids, rows


def drafters(lm):
    return {
        "early exit": fs.EarlyExit(4),
        "model": fs.LM.bundled("reasoner", dtype="float32"),
        "echo": Echo(),
        "noise": Noise(lm.config.vocab_size),
        "random": fs.SyntheticDrafter(),
        "lookup": fs.PromptLookup(),
        "suffix tree": fs.SuffixTree(),
    }


CHAINS = ["early exit", "model", "echo", "noise", "random", "lookup", "suffix tree"]


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("adaptive", [False, True])
def test_greedy_tokens_are_those_of_plain_decoding(lm, name, adaptive):
    plain = lm.generate(PROMPTS, do_sample=False, max_new_tokens=NEW)
    decoding = fs.Speculative(drafters(lm)[name], adaptive=adaptive)
    assert lm.generate(PROMPTS, do_sample=False, max_new_tokens=NEW, decoding=decoding) == plain


@pytest.mark.parametrize("tree", [(3, 4), (4, 16), "dynamic"])
@pytest.mark.parametrize("sampled", [False, True])
def test_trees_write_the_tokens_of_plain_decoding(lm, tree, sampled):
    options = {**(SAMPLED if sampled else {"do_sample": False}), "seed": 5, "max_new_tokens": NEW}
    plain = lm.generate(PROMPTS, **options)
    for name in ("early exit", "model", "suffix tree"):
        decoding = fs.Speculative(drafters(lm)[name], num_draft_tokens=24, tree=tree, adaptive=False)
        out = lm.generate(PROMPTS, decoding=decoding, return_dict_in_generate=True, **options)
        assert out.sequences == plain
        assert 0 < out.stats.accepted_tokens < out.stats.drafted_tokens


@pytest.mark.parametrize("name", CHAINS)
def test_match_samples_the_tokens_of_plain_decoding(lm, name):
    options = {**SAMPLED, "seed": 11, "num_return_sequences": 2, "max_new_tokens": NEW}
    plain = lm.generate(PROMPTS, **options, return_dict_in_generate=True, output_logprobs=2, output_scores=True)
    decoding = fs.Speculative(drafters(lm)[name], verification="match")
    out = lm.generate(
        PROMPTS, **options, decoding=decoding, return_dict_in_generate=True, output_logprobs=2, output_scores=True
    )
    assert out.sequences == plain.sequences
    assert out.top_logprobs == plain.top_logprobs
    for mine, theirs in zip(out.logprobs, plain.logprobs, strict=True):
        assert np.array_equal(mine, theirs)
    for mine, theirs in zip(out.scores, plain.scores, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("verification", ["block", "token"])
def test_a_seeded_sequence_does_not_depend_on_its_batch(one, verification):
    for drafter in (fs.EarlyExit(4), fs.LM.bundled("reasoner", dtype="float32")):
        options = {**SAMPLED, "max_new_tokens": NEW, "decoding": fs.Speculative(drafter, verification=verification)}
        seeds = [31, 32, 33, 34, 35]
        together = one.generate(PROMPTS, seed=seeds, **options)
        alone = [one.generate([prompt], seed=[seed], **options)[0] for prompt, seed in zip(PROMPTS, seeds, strict=True)]
        assert together == alone
        assert one.generate(PROMPTS, seed=seeds, **options) == together


@pytest.mark.parametrize("verification", ["block", "token"])
def test_a_seeded_sequence_does_not_depend_on_the_cache(verification):
    options = {**SAMPLED, "max_new_tokens": NEW, "seed": 3, "num_return_sequences": 3}
    decoding = fs.Speculative(fs.EarlyExit(5), verification=verification)
    ample = fs.LM.bundled("reasoner")
    page = ample.memory()["cache"] // (ample._model.engine.max_cached_tokens // 16)
    tight = fs.LM.bundled("reasoner", kv_cache_bytes=20 * page)
    out = tight.generate(PROMPTS, decoding=decoding, return_dict_in_generate=True, **options)
    assert out.stats.preemptions > 0
    assert out.sequences == ample.generate(PROMPTS, decoding=decoding, **options)


def outcomes(lm, decoding, samples=3000, length=3, **options):
    sequences = lm.generate(
        [PROMPTS[0] + [20, 5, 20]],
        seed=1 if decoding is None else 2,
        max_new_tokens=length,
        num_return_sequences=samples,
        decoding=decoding,
        eos_token_id=None,
        **{"do_sample": True, "top_k": 0, **options},
    )
    return Counter(tuple(sequence[-length:]) for sequence in sequences)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.6},
        {"temperature": 1.4, "top_k": 6},
        {"temperature": 1.5, "top_p": 0.9},
        {"temperature": 1.5, "min_p": 0.05},
        {"temperature": 1.3, "repetition_penalty": 1.3},
    ],
    ids=str,
)
def test_the_law_is_that_of_plain_decoding(one, options):
    plain = outcomes(one, None, **options)
    exit_drafter = fs.EarlyExit(3)
    for verification in ("block", "token"):
        decoding = fs.Speculative(exit_drafter, verification=verification, adaptive=False)
        assert not is_far(plain, outcomes(one, decoding, **options)), verification


def test_the_law_of_drawn_guesses_of_a_users_drafter(one):
    plain = outcomes(one, None, samples=1500, temperature=1.5)
    decoding = fs.Speculative(Noise(one.config.vocab_size), adaptive=False)
    assert not is_far(plain, outcomes(one, decoding, samples=1500, temperature=1.5))


def test_typical_acceptance_is_another_law_and_says_so(one):
    plain = outcomes(one, None, temperature=1.6)
    decoding = fs.Speculative(fs.EarlyExit(3), verification="typical", adaptive=False)
    assert is_far(plain, outcomes(one, decoding, temperature=1.6)), "or these tests could not fail"
    for sampled, labels in ((True, ("verification=typical",)), (False, ())):
        out = one.generate(
            PROMPTS[:1], decoding=decoding, do_sample=sampled, max_new_tokens=4, return_dict_in_generate=True
        )
        assert out.stats.approximations == labels


def test_block_verification_accepts_at_least_as_much_as_token_by_token(one):
    options = {"do_sample": True, "temperature": 1.2, "top_k": 0, "seed": 4, "max_new_tokens": 60}
    accepted = {}
    for verification in ("block", "token", "match"):
        decoding = fs.Speculative(fs.EarlyExit(4), 6, verification=verification, adaptive=False)
        prompts = [problem.prompt for problem in TASK.problems(60)]
        stats = one.generate(prompts, decoding=decoding, return_dict_in_generate=True, **options).stats
        accepted[verification] = stats.tokens_per_forward
    assert accepted["block"] > 0.98 * accepted["token"] > 0.98 * accepted["match"]


def test_synthetic_acceptance_is_what_was_asked_for(one):
    for rate in (0.0, 0.5, 0.9, 1.0):
        decoding = fs.Speculative(fs.SyntheticDrafter(rate), 3, adaptive=False)
        out = one.generate(
            PROMPTS * 6,
            decoding=decoding,
            do_sample=False,
            max_new_tokens=80,
            eos_token_id=None,
            return_dict_in_generate=True,
        )
        assert out.stats.approximations == (f"synthetic_acceptance={rate}",)
        tested, kept = out.stats.drafted_at[0], out.stats.accepted_at[0]
        assert abs(kept / tested - rate) < 0.06


def test_counters_and_trace_tell_what_was_guessed(one, tmp_path):
    trace = tmp_path / "trace.jsonl"
    decoding = fs.Speculative(fs.LM.bundled("reasoner-draft"), 3)
    # With a seed the adaptive rule goes by the stored costs, by which these guesses pay on any machine.
    options = {"do_sample": True, "top_k": 1, "seed": 1, "max_new_tokens": NEW, "return_dict_in_generate": True}
    out = one.generate(PROMPTS, decoding=decoding, trace=trace, **options)
    stats = out.stats
    assert stats.exact
    assert sum(stats.drafted_at) == stats.drafted_tokens == sum(s.drafted_tokens for s in stats.per_sequence)
    assert sum(stats.accepted_at) == stats.accepted_tokens
    assert stats.draft_forwards > 0
    assert stats.draft_seconds > 0
    assert stats.verify_seconds > 0
    assert stats.rows > stats.generated_tokens
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    drafts = [event for event in events if event["kind"] == "drafts"]
    assert sum(event["drafted"] for event in drafts) == stats.drafted_tokens
    assert sum(event["accepted"] for event in drafts) == stats.accepted_tokens
    assert all(0 <= event["expected_acceptance"] <= 1 <= event["expected_speed"] for event in drafts)


def test_speculation_switches_itself_off_and_on_again(one):
    class Late(fs.Drafter):
        """Useless for 150 tokens, then always right."""

        def propose(self, tokens):
            new = len(tokens) - len(PROMPTS[0])
            return plain[len(tokens) : len(tokens) + 4] if new > 150 else [3, 3, 3, 3]

    # Drawn, but from one token each, and with a seed: so that it goes by the stored costs, not by this machine's.
    options = {"do_sample": True, "top_k": 1, "seed": 1, "max_new_tokens": 400, "eos_token_id": None}
    plain = one.generate([PROMPTS[0]], **options)[0]
    out = one.generate([PROMPTS[0]], decoding=fs.Speculative(Late()), return_dict_in_generate=True, **options)
    assert out.sequences == [plain]
    assert out.stats.drafted_tokens - out.stats.accepted_tokens < 40, "few were wasted"
    assert out.stats.accepted_tokens > 100, "and the good ones were taken"


@pytest.mark.parametrize(("seconds", "pays"), [(0.0, True), (1.0, False)])
def test_what_a_users_drafter_takes_counts_from_the_second_call_on(one, monkeypatch, seconds, pays):
    clock = iter(range(10**6))
    monkeypatch.setattr("foresight.core_drafters.perf_counter", lambda: seconds * next(clock))
    # What rows cost is given too, so that nothing here is measured.
    monkeypatch.setattr("foresight.cost_curve.CostMemo.costs", lambda self, engine: [10**6] * 64)

    class Knowing(fs.Drafter):
        def propose(self, tokens):
            return plain[len(tokens) : len(tokens) + 4]

    options = {"do_sample": False, "max_new_tokens": 60, "eos_token_id": None}
    plain = one.generate([PROMPTS[0]], **options)[0]
    decoding = fs.Speculative(Knowing(), 4)
    calls = [one.generate([PROMPTS[0]], decoding=decoding, return_dict_in_generate=True, **options) for _ in range(2)]
    assert all(call.sequences == [plain] for call in calls)
    first, second = (call.stats for call in calls)
    assert first.accepted_tokens > 40
    assert (second.accepted_tokens > 40) == pays
    # With a seed the measured times must not show.
    seeded = {**options, "do_sample": True, "top_k": 1, "seed": 1}
    assert (
        one.generate([PROMPTS[0]], decoding=decoding, return_dict_in_generate=True, **seeded).stats.accepted_tokens > 40
    )


@pytest.mark.parametrize("verification", ["match", "token"])
def test_a_users_processor_is_called_once_per_position_in_order(one, verification):
    lengths = []

    def processor(ids, scores):
        lengths.append(ids.shape[1])
        return scores

    decoding = fs.Speculative(fs.EarlyExit(5), verification=verification, adaptive=False)
    options = {"do_sample": False, "max_new_tokens": 30, "logits_processor": [processor]}
    out = one.generate([PROMPTS[0]], decoding=decoding, return_dict_in_generate=True, **options)
    assert lengths == list(range(len(PROMPTS[0]), len(PROMPTS[0]) + 30))
    assert out.stats.accepted_tokens > 0

    processor.stateful = True
    out = one.generate([PROMPTS[0]], decoding=decoding, return_dict_in_generate=True, **options)
    assert out.stats.drafted_tokens == 0, "what remembers must not see guesses"


def test_guidance_stop_strings_and_streams_act_as_without_guesses(one):
    decoding = fs.Speculative(fs.EarlyExit(5), verification="match", adaptive=False)
    for options in (
        {"guidance_scale": 1.5, "do_sample": False},
        {"stop_strings": ["="], "do_sample": False},
        {"stop_strings": ["\n"], **SAMPLED, "seed": 9},
    ):
        plain = one.generate(PROMPTS, max_new_tokens=NEW, **options)
        assert one.generate(PROMPTS, max_new_tokens=NEW, decoding=decoding, **options) == plain
    tokens = [[] for _ in PROMPTS]
    for event in one.stream(PROMPTS, max_new_tokens=NEW, do_sample=False, decoding=decoding):
        tokens[event.index] += event.tokens
    plain = one.generate(PROMPTS, max_new_tokens=NEW, do_sample=False)
    assert [prompt + new for prompt, new in zip(PROMPTS, tokens, strict=True)] == plain


def test_sessions_speculate(one):
    with one.session(PROMPTS[0]) as session:
        session.append([20, 5])
        plain = session.generate(do_sample=False, max_new_tokens=NEW)
        decoding = fs.Speculative(fs.EarlyExit(5), adaptive=False)
        assert session.generate(do_sample=False, max_new_tokens=NEW, decoding=decoding) == plain


def test_no_more_tokens_than_wanted(one):
    for new in (1, 2, 3):
        decoding = fs.Speculative(fs.SyntheticDrafter(1.0), 8, adaptive=False)
        options = {"do_sample": False, "max_new_tokens": new, "eos_token_id": None, "return_dict_in_generate": True}
        out = one.generate(PROMPTS, decoding=decoding, **options)
        assert [len(tokens) for tokens in out.new_tokens] == [new] * len(PROMPTS)


def test_acceptance_counts_by_place(one):
    exact = one.acceptance(PROMPTS, one, do_sample=False, max_new_tokens=30, eos_token_id=None)
    assert list(exact.rates) == [1.0] * 4
    assert exact.tokens_per_forward > 4
    measured = one.acceptance(PROMPTS * 4, fs.EarlyExit(4), num_draft_tokens=3, do_sample=True, max_new_tokens=60)
    assert len(measured.rates) == 3
    assert ((measured.rates > 0) & (measured.rates < 1)).all()
    assert measured.accepted_at[0] == pytest.approx(measured.rates[0] * measured.drafted_at[0])
    with pytest.raises(TypeError, match="decoding"):
        one.acceptance(PROMPTS, fs.EarlyExit(4), decoding=None)


def test_the_cost_curve_rises_and_is_remembered():
    lm = fs.LM.bundled("reasoner")
    curve = lm.cost_curve()
    assert curve.rows[0] == 1
    assert curve.rows[-1] == 256
    assert all(seconds > 0 for seconds in curve.seconds)
    assert curve.at(256) > curve.at(1)
    assert curve.at(5) == pytest.approx((curve.at(4) + curve.at(6)) / 2)
    assert lm.cost_curve() is curve
    assert lm.memory()["cache_used"] == 0


def test_drafters_cost_what_they_read(one):
    circumstances = SimpleNamespace(model=one.loaded)
    draft = fs.LM.bundled("reasoner-draft")
    layer, exit_at_four = (
        core_drafter(fs.EarlyExit(layers), one.config).relative_cost(circumstances).per_token for layers in (1, 4)
    )
    head = one.config.vocab_size * one.config.hidden_size * 2
    body = one.memory()["packed"] - head
    assert layer == pytest.approx((body / 6 + head) / (body + head))
    assert layer < exit_at_four < 1
    model = core_drafter(draft, one.config).relative_cost(circumstances).per_token
    assert model == pytest.approx(draft.memory()["packed"] / one.memory()["packed"])
    assert core_drafter(fs.PromptLookup(), one.config).relative_cost(circumstances).per_token == 0


# transformers' names


@pytest.mark.parametrize(
    ("arguments", "decoding"),
    [
        ({"prompt_lookup_num_tokens": 6}, fs.Speculative(fs.PromptLookup(2), 6)),
        ({"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 4}, fs.Speculative(fs.PromptLookup(4), 3)),
        ({"assistant_early_exit": 3}, fs.Speculative(fs.EarlyExit(3), 20)),
        (
            {"assistant_early_exit": 3, "num_assistant_tokens": 5, "num_assistant_tokens_schedule": "constant"},
            fs.Speculative(fs.EarlyExit(3), 5, adaptive=False),
        ),
    ],
)
def test_transformers_fields_build_the_same_object(one, arguments, decoding):
    options = {"do_sample": False, "max_new_tokens": NEW, "return_dict_in_generate": True}
    out = one.generate(PROMPTS, **arguments, **options)
    assert out.decoding == decoding
    assert out.sequences == one.generate(PROMPTS, **options).sequences


def test_an_assistant_model_is_a_drafter(one):
    draft = fs.LM.bundled("reasoner-draft")
    options = {"do_sample": False, "max_new_tokens": NEW, "return_dict_in_generate": True}
    out = one.generate(PROMPTS, assistant_model=draft, num_assistant_tokens=3, **options)
    assert out.decoding == fs.Speculative(draft, 3)
    assert out.sequences == one.generate(PROMPTS, **options).sequences


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompt_lookup_num_tokens": 4, "assistant_early_exit": 2}, ValueError, "give one"),
        ({"prompt_lookup_num_tokens": 4, "decoding": fs.Autoregressive()}, ValueError, "give one"),
        ({"num_assistant_tokens": 4}, ValueError, "goes with assistant_model"),
        ({"max_matching_ngram_size": 4}, ValueError, "goes with prompt_lookup"),
        ({"assistant_early_exit": 2, "max_matching_ngram_size": 4}, ValueError, "goes with prompt_lookup"),
        ({"assistant_tokenizer": object()}, ValueError, "assistant_model"),
        ({"assistant_model": object()}, TypeError, "from_torch"),
        ({"prompt_lookup_num_tokens": 0}, ValueError, "prompt_lookup_num_tokens"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(one, arguments, error, message):
    with pytest.raises(error, match=message):
        one.generate(PROMPTS, max_new_tokens=4, **arguments)


# What goes wrong


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_draft_tokens": 0}, "num_draft_tokens is 0"),
        ({"num_draft_tokens": 65}, "1 to 64"),
        ({"num_draft_tokens": 2.0}, "num_draft_tokens"),
        ({"verification": "strict"}, "'strict'"),
        ({"adaptive": 1}, "adaptive"),
        ({"tree": (9, 9)}, "64 guesses"),
        ({"tree": (0, 3)}, "tree"),
        ({"tree": "static"}, "'static'"),
        ({"drafter": fs.EarlyExit(6)}, "6 layers"),
        ({"drafter": fs.EarlyExit(0)}, "1 to 5"),
        ({"drafter": fs.SyntheticDrafter(1.5)}, "0 to 1"),
    ],
)
def test_bad_options_name_the_value(one, fields, message):
    decoding = fs.Speculative(**{"drafter": fs.EarlyExit(2), **fields})
    with pytest.raises(ValueError, match=message):
        one.generate(PROMPTS, decoding=decoding, max_new_tokens=4)


def test_what_is_no_drafter_is_refused(one):
    for wrong in (None, "lookup", fs.EarlyExit, Echo, object()):
        with pytest.raises(TypeError, match="drafter"):
            one.generate(PROMPTS, decoding=fs.Speculative(wrong), max_new_tokens=4)
    with pytest.raises(NotImplementedError, match="tree"):
        one.generate(PROMPTS, decoding=fs.Speculative(Echo(), tree=(2, 2)), max_new_tokens=4)


def test_models_that_cannot_be_drafted_for_are_refused(one):
    sudoku = fs.LM.bundled("sudoku")
    with pytest.raises(ValueError, match="causal model"):
        sudoku.generate([[1, 2]], decoding=fs.Speculative(Echo()), max_new_tokens=2)
    with pytest.raises(ValueError, match="drafter has semi_causal attention"):
        one.generate(PROMPTS, decoding=fs.Speculative(sudoku), max_new_tokens=2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1, 73], "73.*0 to 72"),
        ([-1], "-1"),
        (([1, 2], np.full((1, 73), 1 / 73)), r"\[2, 73\]"),
        (([1], np.full((1, 73), 0.5)), "sums to 36.5"),
        (([1], np.eye(73)[2:3]), "probability 0"),
        (([1], [[float("nan")] * 73]), "distribution"),
        ([2**70], str(2**70)),
        (([1], "no array"), r"no array|shape"),
    ],
    ids=str,
)
def test_a_drafter_that_misbehaves_is_named_and_the_model_stays_usable(one, answer, message):
    class Bad(fs.Drafter):
        def propose(self, tokens):
            return answer

    plain = one.generate(PROMPTS, do_sample=False, max_new_tokens=6)
    with pytest.raises(ValueError, match=message):
        one.generate(PROMPTS, decoding=fs.Speculative(Bad()), do_sample=True, seed=1, max_new_tokens=6)
    assert one.generate(PROMPTS, do_sample=False, max_new_tokens=6) == plain
    one._model.engine.check_integrity()


@pytest.mark.parametrize("verification", ["token", "block", "match"])
def test_a_drafter_whose_rows_sum_to_little_more_than_one_allows_no_forbidden_token(one, verification):
    plain = one.generate(PROMPTS[:1], do_sample=True, top_k=1, seed=0, max_new_tokens=12)

    class Sloppy(fs.Drafter):
        """The only token that top_k=1 allows, and a little of another one, which it proposes."""

        def propose(self, tokens):
            if len(tokens) >= len(plain[0]):
                return None
            right = plain[0][len(tokens)]
            row = np.zeros((1, one.config.vocab_size), np.float32)
            row[0, right] = 1.0
            wrong = (right + 1) % one.config.vocab_size
            row[0, wrong] = 0.0005
            return [wrong], row

    decoding = fs.Speculative(Sloppy(), verification=verification, adaptive=False)
    assert one.generate(PROMPTS[:1], decoding=decoding, do_sample=True, top_k=1, seed=0, max_new_tokens=12) == plain


def test_what_a_drafter_may_return(one):
    plain = one.generate(PROMPTS, do_sample=False, max_new_tokens=12)
    for answer in (None, [], (), (5, 7), np.array([5, 7]), [np.int64(5)], (np.int64(5), np.int64(7))):

        class Odd(fs.Drafter):
            def propose(self, tokens, answer=answer):
                return answer

        decoding = fs.Speculative(Odd(), adaptive=False)
        assert one.generate(PROMPTS, decoding=decoding, do_sample=False, max_new_tokens=12) == plain

    for answer in ([1.5], 3, ["a"]):

        class Wrong(fs.Drafter):
            def propose(self, tokens, answer=answer):
                return answer

        decoding = fs.Speculative(Wrong(), adaptive=False)
        with pytest.raises(TypeError):
            one.generate(PROMPTS, decoding=decoding, do_sample=False, max_new_tokens=12)


def test_a_model_cannot_be_timed_from_its_own_callback():
    fresh = fs.LM.bundled("reasoner")

    def timing(ids, scores):
        fresh.cost_curve()
        return scores

    with pytest.raises(ValueError, match="timed"):
        fresh.generate(PROMPTS, logits_processor=[timing], max_new_tokens=4)


def test_a_drafter_that_raises_ends_the_call_with_its_own_error(one):
    class Broken(fs.Drafter):
        def propose(self, tokens):
            if len(tokens) > len(PROMPTS[0]) + 5:
                raise RuntimeError("out of ideas")
            return tokens[:2]

    with pytest.raises(RuntimeError, match="out of ideas"):
        one.generate([PROMPTS[0]], decoding=fs.Speculative(Broken(), adaptive=False), max_new_tokens=20)
    one._model.engine.check_integrity()
    assert len(one.generate([PROMPTS[0]], do_sample=False, max_new_tokens=6)[0]) == len(PROMPTS[0]) + 6
