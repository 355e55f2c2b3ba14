"""The drafters without weights by themselves, against brute force."""

import contextlib
import random
import threading

import numpy as np
import pytest
from safetensors.numpy import save_file

import foresight as fs
from foresight import _core


def chain(nodes):
    assert [parent for _, parent in nodes] == list(range(-1, len(nodes) - 1))
    return [token for token, _ in nodes]


def naive_lookup(tokens, max_ngram, min_ngram, wanted):
    """Longest n-gram first; of its earlier occurrences the longest continuation, then the latest."""
    for n in range(min(max_ngram, len(tokens)), min_ngram - 1, -1):
        last = tokens[len(tokens) - n :]
        found = [tokens[end : end + wanted] for end in range(n, len(tokens)) if tokens[end - n : end] == last]
        if found:
            return max(reversed(found), key=len)
    return []


def test_lookups_find_what_brute_force_finds():
    rng = random.Random(1)
    for _ in range(60):
        longest = rng.randint(1, 4)
        shortest = rng.randint(1, longest)
        drafter = _core.PromptLookup(longest, shortest)
        sequences = [[rng.randrange(3) for _ in range(rng.randrange(1, 40))] for _ in range(3)]
        for _ in range(25):
            wanted = rng.randint(1, 6)
            guesses = drafter.propose(sequences, wanted)
            for tokens, nodes in zip(sequences, guesses, strict=True):
                assert chain(nodes) == naive_lookup(tokens, longest, shortest, wanted)
            change = rng.randrange(3)
            place = rng.randrange(3)
            if change == 0:  # it goes on
                sequences[place] += [rng.randrange(3) for _ in range(rng.randrange(4))]
            elif change == 1:  # it is cut
                sequences[place] = sequences[place][: rng.randint(1, len(sequences[place]))]
            else:  # it is another one's fork
                sequences[place] = list(sequences[rng.randrange(3)])


def test_trees_guess_the_most_frequent_continuation():
    tree = _core.SuffixTree(min_probability=0.0)
    for _ in range(3):
        tree.add([5, 1, 2, 3])
    tree.add([5, 1, 9, 9])
    (nodes,) = tree.propose([[7, 5, 1]], 2)
    assert chain(nodes) == [2, 3]
    (nodes,) = tree.propose([[7, 5, 1]], 6, depth=2, width=2)
    assert {(token, parent) for token, parent in nodes if parent == -1} == {(2, -1), (9, -1)}
    assert nodes[0][0] == 2, "the likelier sibling first"


def test_trees_stop_at_the_least_probability():
    tree = _core.SuffixTree(min_probability=0.6, max_factor=8.0)
    tree.add([5, 1, 2, 3])
    tree.add([5, 1, 2, 4])
    (nodes,) = tree.propose([[5, 1]], 4)
    assert chain(nodes) == [2], "3 and 4 follow in one of two"


def test_trees_grow_within_their_shape_and_are_trees():
    rng = random.Random(2)
    tree = _core.SuffixTree(min_probability=0.0, max_factor=10.0)
    for _ in range(60):
        tree.add([rng.randrange(4) for _ in range(30)])
    for _ in range(60):
        count, depth, width = rng.randint(1, 20), rng.randint(1, 6), rng.randint(1, 4)
        tokens = [rng.randrange(4) for _ in range(20)]
        for dynamic in (False, True):
            (nodes,) = tree.propose([tokens], count, depth, width, dynamic)
            assert len(nodes) <= count
            depths = []
            for index, (token, parent) in enumerate(nodes):
                assert 0 <= token < 4
                assert -1 <= parent < index
                depths.append(1 if parent < 0 else depths[parent] + 1)
            assert all(depths.count(level) <= width for level in set(depths))
            assert max(depths, default=0) <= depth
            assert len(set(zip((token for token, _ in nodes), (parent for _, parent in nodes), strict=True))) == len(
                nodes
            )


def test_answers_to_the_same_prompt_come_first():
    prompt = [1, 2, 3]
    tree = fs.SuffixTree()
    tree.add([7, 8, 9, 10, 11], prompt=prompt)
    for _ in range(5):
        tree.add([7, 8, 4, 4, 4], prompt=[6, 6])
    (nodes,) = tree.for_call().propose([[*prompt, 7, 8]], 2, prompt_lengths=[3])
    assert chain(nodes) == [9, 10]


def test_old_answers_make_room():
    tree = fs.SuffixTree(max_tokens=100)
    for start in range(0, 1000, 10):
        tree.add(range(start, start + 10))
    assert 0 < len(tree) <= 100
    assert tree.for_call().propose([[990, 991]], 2)[0], "the last one is known"
    assert not tree.for_call().propose([[10, 11]], 2)[0], "the first ones are not"


def test_a_call_learns_and_the_next_one_drafts_from_it():
    lm = fs.LM.bundled("reasoner")
    prompts = [problem.prompt for problem in fs.tasks.get("reasoner").problems(4)]
    tree = fs.SuffixTree()
    decoding = fs.Speculative(tree, 8, adaptive=False)
    options = {"do_sample": False, "max_new_tokens": 80, "decoding": decoding, "return_dict_in_generate": True}
    first = lm.generate(prompts, **options)
    assert len(tree) > 0
    second = lm.generate(prompts, **options)
    assert second.sequences == first.sequences
    assert second.stats.tokens_per_forward > 1.5 * first.stats.tokens_per_forward


def test_a_tree_comes_back_from_its_file(tmp_path):
    rng = random.Random(3)
    tree = fs.SuffixTree()
    for _ in range(20):
        tree.add([rng.randrange(5) for _ in range(25)], prompt=[rng.randrange(3) for _ in range(4)])
    tree.save(tmp_path / "tree")
    again = fs.SuffixTree.load(tmp_path / "tree", max_depth=24)
    assert len(again) == len(tree)
    queries = [[rng.randrange(5) for _ in range(12)] for _ in range(20)]
    assert again.for_call().propose(queries, 5) == tree.for_call().propose(queries, 5)
    assert [file.name for file in tmp_path.iterdir()] == ["tree"]


def test_hostile_files_are_refused(tmp_path):
    tree = fs.SuffixTree()
    tree.add([1, 2, 3, 4])
    path = tmp_path / "tree"
    tree.save(path)
    good = path.read_bytes()
    rng = random.Random(4)
    for _ in range(200):
        bad = bytearray(good)
        if rng.random() < 0.3:
            bad = bad[: rng.randrange(len(bad))]
        else:
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(bad))
        # A flipped bit of the header's padding may leave a good file.
        with contextlib.suppress(fs.CheckpointError):
            assert len(fs.SuffixTree.load(path)) == len(tree)
    with pytest.raises(fs.CheckpointError):
        fs.SuffixTree.load(tmp_path / "nothing")
    save_file({"tokens": np.zeros(3, np.int32)}, path, metadata={"format": "other"})
    with pytest.raises(fs.CheckpointError, match="no suffix tree"):
        fs.SuffixTree.load(path)


def test_options_that_are_no_numbers_are_named():
    for options in ({"max_depth": 2.5}, {"max_tokens": True}, {"min_probability": "0.1"}, {"max_factor": None}):
        (name,) = options
        with pytest.raises(TypeError, match=name):
            fs.SuffixTree(**options)


def test_arrays_that_cannot_have_been_held_are_refused():
    def arrays(tokens, lengths, prompts):
        return np.array(tokens, np.int32), np.array(lengths, np.int64), np.array(prompts, np.uint64)

    for bad in (
        arrays([1, 2], [3], [0]),
        arrays([1, 2], [-1, 3], [0, 0]),
        arrays([1, -2], [2], [0]),
        arrays([1, 2], [2], [0, 0]),
        arrays([1, 2], [2**62, 2**62], [0, 0]),
    ):
        tree = _core.SuffixTree()
        with pytest.raises(ValueError, match=r"\w"):
            tree.add_held(*bad)
        assert len(tree) == 0


def test_threads_share_a_tree():
    tree = fs.SuffixTree(max_tokens=3000)
    errors = []

    def work(seed):
        rng = random.Random(seed)
        drafter = tree.for_call()
        try:
            for _ in range(150):
                tree.add([rng.randrange(6) for _ in range(20)], prompt=[seed])
                drafter.propose([[rng.randrange(6) for _ in range(10)]], 4, width=2)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(tree) <= 3000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fs.PromptLookup(0), "max_ngram is 0"),
        (lambda: fs.PromptLookup(2, 3), "min_ngram 3"),
        (lambda: fs.PromptLookup(40), "1 to 32"),
        (lambda: fs.SuffixTree(max_depth=1), "max_depth"),
        (lambda: fs.SuffixTree(min_probability=1.5), "min_probability"),
        (lambda: fs.SuffixTree(max_factor=-1.0), "max_factor"),
        (lambda: fs.SuffixTree(max_tokens=0), "max_tokens"),
        (lambda: fs.SuffixTree().add([-1]), "-1"),
    ],
)
def test_options_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
