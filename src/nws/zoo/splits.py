"""Which nets are test nets: decided once per net, from its number, before anything is known about it."""

import hashlib

SPLITS = ("train", "test")
BLOCK = 4


def split(seed: int, number: int) -> str:
    """Side of a net, "train" or "test": of every four consecutive numbers one is drawn for the test.

    A function of (zoo seed, number) only, so it never changes when a zoo grows, and nets of one task never change sides between
    tasks. SHA-256 rather than a generator: the rule must be the same in ten years, with any numpy, in any language.
    """
    block, place = divmod(number, BLOCK)
    drawn = hashlib.sha256(f"nws split {seed} {block}".encode()).digest()[0] % BLOCK
    return "test" if place == drawn else "train"
