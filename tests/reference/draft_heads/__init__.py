"""Draft heads in plain PyTorch, one file per kind, from what the sources of their formats describe.

Everything is computed anew for every guess: no caches, no batches, so that there is little to get wrong. `tokens` are
those of the sequence so far, `states` [len(tokens) - 1, layers, hidden] the target's hidden states of all but the last.
"""
