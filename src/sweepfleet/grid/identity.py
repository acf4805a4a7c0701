"""A point's id and seed: functions of its content, never of its position in a grid."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping

from sweepfleet.grid.plan import Value

SEED_BITS = 31
_MASK64 = (1 << 64) - 1

# Nothing in a grid contains itself, so that check is off.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode
_quote = json.encoder.encode_basestring_ascii


def encode(value: Value) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII; NaN and infinities as Python writes them.

    1, 1.0, true and "1" are four different texts.
    """
    kind = type(value)  # plain values need not go through json's encoder, which takes a microsecond to set up
    if kind is int or (kind is float and value - value == 0):
        return repr(value)
    if kind is str:
        return _quote(value)
    return _encode(value)


def canonical(params: Mapping[str, Value]) -> str:
    """The one JSON text of these parameters, whatever order their keys come in."""
    return f"{{{','.join([f'{_quote(name)}:{encode(params[name])}' for name in sorted(params)])}}}"


def key64(*parts: Value) -> int:
    """A 64-bit key from any JSON values: BLAKE2b of their canonical text."""
    return int.from_bytes(hashlib.blake2b(encode(parts).encode(), digest_size=8).digest(), "big")


def mix64(word: int) -> int:
    """A scrambled 64-bit word: SplitMix64's output function (Steele, Lea, Flood, OOPSLA 2014)."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK64
    return word ^ (word >> 31)


def id_hasher(target: str, replicate: int) -> hashlib.blake2b:
    """A hash of all of a point's identity but its parameters: copy it, add their canonical text."""
    return hashlib.blake2b(f"{encode(target)}\n{replicate}\n".encode(), digest_size=8)


def point_id(target: str, params: Mapping[str, Value], replicate: int) -> str:
    """A point's name: 16 hex digits of BLAKE2b over its target, replicate and canonical parameters."""
    hasher = id_hasher(target, replicate)
    hasher.update(canonical(params).encode())
    return hasher.hexdigest()


@functools.lru_cache(maxsize=16)
def seed_key(seed: int) -> int:
    """The sweep's seed, any int, spread over 64 bits."""
    return key64("seed", seed)


def point_seed(seed: int, point_id: str) -> int:
    """A point's own seed from the sweep's and its id, 0 <= s < 2**31: R, Java, Fortran and C's int take it, too."""
    return digest_seed(bytes.fromhex(point_id), seed_key(seed))


def digest_seed(digest: bytes, key: int) -> int:
    """`point_seed` from the id's bytes and the sweep's `seed_key`, for callers that have these."""
    return mix64(int.from_bytes(digest, "big") ^ key) >> (64 - SEED_BITS)
