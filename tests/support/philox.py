"""The engine's random numbers again, in plain Python: Philox4x32-10 (Salmon et al. 2011) under a mixed key."""

from __future__ import annotations

WORD = 2**64 - 1
ORDER_STREAM = 0x6F72646572


def mix64(a: int, b: int) -> int:
    """SplitMix64's finaliser over two words."""

    def finalise(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & WORD
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & WORD
        return z ^ (z >> 31)

    gamma = 0x9E3779B97F4A7C15
    return finalise(finalise(a + gamma & WORD) ^ (b + gamma & WORD))


def uniform(seed: int, branch: int, position: int, draw: int) -> float:
    """In [0, 1), with 53 bits."""
    mixed = mix64(seed, branch)
    key = [mixed & 0xFFFFFFFF, mixed >> 32]
    counter = [position & 0xFFFFFFFF, position >> 32, draw, 0]
    for _ in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (second >> 32) ^ counter[1] ^ key[0],
            second & 0xFFFFFFFF,
            (first >> 32) ^ counter[3] ^ key[1],
            first & 0xFFFFFFFF,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return ((counter[1] << 32 | counter[0]) >> 11) * 2.0**-53


def order_uniform(seed: int, position: int, step: int) -> float:
    """What the first branch of a prompt with this seed sorts positions by."""
    return uniform(seed, mix64(0, ORDER_STREAM), position, step)
