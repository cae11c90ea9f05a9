"""Values of an MMDB's data section, and of its metadata.

A value is a control byte, then what its type adds. The byte's top three bits are the type, 0 for an
extended one: then the next byte + 7 is the type. Its low five bits are the size; 29, 30 and 31 mean
that one, two or three bytes follow, which count from 29, 285 and 65,821.

====  ==========================  ====  ========================================================
1     pointer                     8     int32, size 0..4, negative only with size 4
2     string, UTF-8               9     uint64, size 0..8
3     double, size 8              10    uint128, size 0..16
4     bytes                       11    array, size = elements
5     uint16, size 0..2           14    boolean, size = the value
6     uint32, size 0..4           15    float, size 4
7     map, size = pairs
====  ==========================  ====  ========================================================

A pointer's size is two bits for its length and three for its value's top. It counts from the
section's beginning, and never leads to another pointer.
"""

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeAlias

from ipgeo.errors import InputError

Value: TypeAlias = dict[str, "Value"] | list["Value"] | str | bytes | int | float
"""A decoded value; a boolean is an int, too. Values are shared: never change one."""

MAX_DEPTH = 512
"""How deep maps, arrays and pointers may be nested: libmaxminddb's limit."""

MAX_WEIGHT = 1 << 16
"""How heavy one record may be: the spec's limit of values. Each element is one, and each byte of a
string that has over 28; what is shared is counted each time, but for light pointers' targets."""

MAX_WORK = 8
"""How often all bytes of a section may be decoded: parts of a record can be pointers' targets."""

SPARE_WORK = 1 << 16
"""Bytes that may be decoded besides, so that small sections have no limit."""

_LIGHT_WEIGHT = 64
_LIGHT_HEIGHT = 8
"""Up to here a pointer's target counts as one element, and its levels as none."""

_POINTER = 1  # its type
_SIZE_BASES = (29, 285, 65821)
_POINTER_BASES = (0, 2048, 526336, 0)
_POINTER_SIZES = bytes(2 + (byte >> 3 & 3) if byte >> 5 == _POINTER else 0 for byte in range(256))
"""Bytes of a pointer by its control byte; 0 for any other value."""

_DOUBLE = struct.Struct(">d")
_DOUBLE_CONTROL = 3 << 5 | _DOUBLE.size
_FLOAT = struct.Struct(">f")

_Decoded: TypeAlias = tuple[Value, int]
"""A value and the offset after it."""

_Decode: TypeAlias = Callable[[int, int], _Decoded]
"""Decodes the value whose control byte is at an offset, inside so many containers and pointers."""

_OPEN: tuple[Value, int, int] = ("", 0, MAX_DEPTH)
"""What a pointer's target is while it is decoded: a pointer to it from inside is a cycle."""


class Decoder:
    """Decodes values of ``section``, which begins at offset ``base`` of the file ``path``.

    Each pointer is decoded once, and what it leads to is shared. What is not the format's, passes
    the section's end or a limit raises InputError with its offset in the file.
    """

    def __init__(self, path: Path | str, section: bytes, base: int) -> None:
        self._path = path
        self._data = section
        self.base = base
        # By the bytes of their pointers: map keys, light targets, and heavy ones with weight and
        # height. Nearly all values of a record are light.
        self._keys: dict[bytes, str] = {}
        self._light: dict[bytes, Value] = {}
        self._heavy: dict[bytes, tuple[Value, int, int]] = {}
        self._weight = 0  # of the record so far
        self._deepest = 0  # level that the record or pointer's target has reached so far
        self._work = 0
        simple: list[_Decode | None] = [
            None,
            self._pointer,
            self._string,
            partial(self._real, _DOUBLE),
            self._bytes,
            partial(self._uint, 2),
            partial(self._uint, 4),
            self._map,
        ]
        self._by_control = [simple[control >> 5] for control in range(256)]
        self._by_extension: dict[int, _Decode] = {
            1: self._int32,
            2: partial(self._uint, 8),
            3: partial(self._uint, 16),
            4: self._array,
            7: self._boolean,
            8: partial(self._real, _FLOAT),
        }

    def decode(self, offset: int) -> Value:
        """Return the value at ``offset`` of the section."""
        self._weight = self._deepest = 0
        try:
            value, end = self._decoder(offset)(offset, 0)
        except IndexError:
            self._fail(len(self._data), "the data end inside a value")
        except RecursionError:
            self._fail(offset, f"nested deeper than {MAX_DEPTH}")
        self._count_work(offset, end)
        return value

    def _fail(self, offset: int, problem: str) -> NoReturn:
        raise InputError(self._path, f"offset {self.base + offset}", problem)

    def _count_work(self, start: int, end: int) -> None:
        self._work += end - start
        if self._work > MAX_WORK * len(self._data) + SPARE_WORK:
            self._fail(start, f"values overlap: decoding takes over {MAX_WORK} times their size")

    def _decoder(self, offset: int) -> _Decode:
        return self._by_control[self._data[offset]] or self._extended(offset)

    def _extended(self, offset: int) -> _Decode:
        extension = self._data[offset + 1]
        if extension not in self._by_extension:
            self._fail(offset, f"a value of type {extension + 7}, which is none of the format's")
        return self._by_extension[extension]

    def _header(self, offset: int) -> tuple[int, int]:
        """Return a value's size and the offset of what follows its header."""
        control = self._data[offset]
        start = offset + (1 if control >> 5 else 2)
        size = control & 31
        if size < 29:
            return size, start
        more = size - 28
        return _SIZE_BASES[more - 1] + int.from_bytes(self._take(start, more), "big"), start + more

    def _take(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes of a value."""
        end = start + size
        if end > len(self._data):
            problem = f"{size} bytes pass the end of the data at {self.base + len(self._data)}"
            self._fail(start, problem)
        if size > 28:
            self._weigh(start, size)
        return self._data[start:end]

    def _weigh(self, offset: int, weight: int) -> None:
        self._weight += weight
        if self._weight > MAX_WEIGHT:
            self._fail(offset, f"a record of more than {MAX_WEIGHT} values and bytes")

    def _container(self, offset: int, depth: int) -> tuple[int, int]:
        """Return an array's or a map's size and the offset of its first element."""
        size, start = self._header(offset)
        if size > len(self._data) - start:
            self._fail(offset, f"{size} elements pass the end of the data")
        self._weigh(offset, size)
        self._reach(offset, depth)
        return size, start

    def _reach(self, offset: int, depth: int) -> None:
        if depth > self._deepest:
            if depth > MAX_DEPTH:
                self._fail(offset, f"nested deeper than {MAX_DEPTH}, or pointers make a circle")
            self._deepest = depth

    def _map(self, offset: int, depth: int) -> _Decoded:
        depth += 1
        size, offset = self._container(offset, depth)
        data, keys, light, decoders = self._data, self._keys, self._light, self._by_control
        result: dict[str, Value] = {}
        for _ in range(size):
            # What is no pointer has the empty one, which is never known.
            end = offset + _POINTER_SIZES[data[offset]]
            key = keys.get(data[offset:end])
            if key is None:
                key, end = self._key(offset, depth)
            offset = end
            end += _POINTER_SIZES[data[offset]]
            value = light.get(data[offset:end])
            if value is None:
                control = data[offset]
                if control == _DOUBLE_CONTROL and offset + 8 < len(data):  # positions: the most
                    (value,), end = _DOUBLE.unpack_from(data, offset + 1), offset + 9
                else:
                    # One frame a level: no function between this one and the value's own.
                    decode = decoders[control] or self._extended(offset)
                    value, end = decode(offset, depth)
            offset = end
            result[key] = value
        return result, offset

    def _key(self, offset: int, depth: int) -> tuple[str, int]:
        key, end = self._decoder(offset)(offset, depth)
        if not isinstance(key, str):
            self._fail(offset, "a map's key that is not a string")
        if self._data[offset] >> 5 == _POINTER:
            self._keys[self._data[offset:end]] = key
        return key, end

    def _array(self, offset: int, depth: int) -> _Decoded:
        depth += 1
        size, offset = self._container(offset, depth)
        result: list[Value] = []
        for _ in range(size):
            value, offset = self._decoder(offset)(offset, depth)
            result.append(value)
        return result, offset

    def _pointer(self, offset: int, depth: int) -> _Decoded:
        end = offset + _POINTER_SIZES[self._data[offset]]
        pointer = self._data[offset:end]
        light = self._light.get(pointer)
        if light is not None:
            return light, end
        heavy = self._heavy.get(pointer)
        if heavy:
            value, weight, height = heavy
            self._weigh(offset, weight)
            self._reach(offset, depth + 1 + height)
            return value, end
        return self._follow(offset, pointer, depth + 1), end

    def _follow(self, offset: int, pointer: bytes, depth: int) -> Value:
        """Decode what a pointer leads to, and keep it."""
        target = self._target(offset, pointer)
        self._reach(offset, depth)
        self._heavy[pointer] = _OPEN
        weight, deepest = self._weight, self._deepest
        self._deepest = depth
        value, end = self._decoder(target)(target, depth)
        self._count_work(target, end)
        weight, height = self._weight - weight, self._deepest - depth
        self._deepest = max(deepest, self._deepest)
        self._heavy[pointer] = value, weight, height
        if weight <= _LIGHT_WEIGHT and height <= _LIGHT_HEIGHT:
            self._light[pointer] = value
            del self._heavy[pointer]
        return value

    def _target(self, offset: int, pointer: bytes) -> int:
        """Return where a pointer leads; refuse one that is cut, or leads to no value."""
        control = pointer[0]
        length = control >> 3 & 3
        target = int.from_bytes(pointer[1:], "big") + _POINTER_BASES[length]
        if length < 3:
            target += (control & 7) << 8 * (length + 1)
        if len(pointer) < length + 2 or target >= len(self._data):
            problem = f"a pointer to {self.base + target} passes the end of the data"
            self._fail(offset, f"{problem} at {self.base + len(self._data)}")
        if self._data[target] >> 5 == _POINTER:
            self._fail(offset, f"a pointer to the pointer at {self.base + target}")
        return target

    def _string(self, offset: int, _depth: int) -> _Decoded:
        size, start = self._header(offset)
        try:
            return str(self._take(start, size), "utf-8"), start + size
        except UnicodeDecodeError as error:
            self._fail(start + error.start, f"a string that is not UTF-8: {error.reason}")

    def _bytes(self, offset: int, _depth: int) -> _Decoded:
        size, start = self._header(offset)
        return self._take(start, size), start + size

    def _real(self, layout: struct.Struct, offset: int, _depth: int) -> _Decoded:
        size, start = self._header(offset)
        if size != layout.size:
            self._fail(
                offset, f"a floating-point number of {size} bytes, its type has {layout.size}"
            )
        value: float = layout.unpack(self._take(start, size))[0]
        return value, start + size

    def _uint(self, width: int, offset: int, _depth: int) -> tuple[int, int]:
        size, start = self._header(offset)
        if size > width:
            self._fail(offset, f"an integer of {size} bytes, its type has {width}")
        return int.from_bytes(self._take(start, size), "big"), start + size

    def _int32(self, offset: int, _depth: int) -> _Decoded:
        value, end = self._uint(4, offset, _depth)
        # Shorter ones are padded with zeros, so only four bytes can have the sign bit.
        return (value - (1 << 32) if value >> 31 else value), end

    def _boolean(self, offset: int, _depth: int) -> _Decoded:
        size, end = self._header(offset)
        if size > 1:
            self._fail(offset, f"a boolean of {size}, which is neither 0 nor 1")
        return size == 1, end
