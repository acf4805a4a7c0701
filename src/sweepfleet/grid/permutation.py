"""A shuffled order of range(n) that is computed, not stored: position to index and back in O(1) memory.

A Feistel network over the pairs (left, right) of Z_a x Z_b with a*b just above n, walked along its cycle
until it falls inside range(n) (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002).
"""

from __future__ import annotations

import hashlib
import math

from sweepfleet.grid.identity import mix64

_ROUNDS = 6  # 4 make a pseudorandom permutation from good round functions; 2 more for small halves
_MASK64 = (1 << 64) - 1


class Permutation:
    """A bijection of range(size), fixed by its key."""

    def __init__(self, size: int, key: bytes | int) -> None:
        """Prepare the round keys. Raises ValueError when size is negative."""
        if size < 0:
            raise ValueError(f"A permutation needs a size of at least 0, not {size}.")
        self.size = size
        if isinstance(key, int):
            key = str(key).encode()
        material = hashlib.blake2b(key, digest_size=8 * _ROUNDS).digest()
        self._keys = [int.from_bytes(material[8 * r : 8 * r + 8], "big") for r in range(_ROUNDS)]
        self._left = max(1, math.isqrt(max(0, size - 1)) + 1)
        self._right = max(1, -(-size // self._left))
        # A round's word must be much longer than the half it is reduced to; large products are huge.
        self._wide_bytes = 0 if self._left <= 1 << 40 else self._left.bit_length() // 8 + 9

    def __call__(self, position: int) -> int:
        """The index at a position. Raises IndexError outside range(size)."""
        index = self._inside(position)
        while True:
            index = self._forward(index)
            if index < self.size:
                return index

    def inverse(self, index: int) -> int:
        """The position of an index. Raises IndexError outside range(size)."""
        position = self._inside(index)
        while True:
            position = self._backward(position)
            if position < self.size:
                return position

    def _inside(self, number: int) -> int:
        if not 0 <= number < self.size:
            raise IndexError(f"{number} is outside range({self.size}).")
        return number

    def _word(self, round_key: int, half: int) -> int:
        if not self._wide_bytes:
            return mix64((half + round_key) & _MASK64)
        text = b"%d %d" % (round_key, half)
        return int.from_bytes(hashlib.shake_256(text).digest(self._wide_bytes), "big")

    def _forward(self, number: int) -> int:
        left, right = divmod(number, self._right)
        for number_of_round, key in enumerate(self._keys):
            if number_of_round % 2:
                right = (right + self._word(key, left)) % self._right
            else:
                left = (left + self._word(key, right)) % self._left
        return left * self._right + right

    def _backward(self, number: int) -> int:
        left, right = divmod(number, self._right)
        for number_of_round in reversed(range(_ROUNDS)):
            key = self._keys[number_of_round]
            if number_of_round % 2:
                right = (right - self._word(key, left)) % self._right
            else:
                left = (left - self._word(key, right)) % self._left
        return left * self._right + right
