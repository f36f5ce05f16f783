"""Valid files made strange: by bytes, and by what a format is made of, so that a parser is reached behind its first check."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutate = Callable[[bytes, random.Random], bytes]

NUMBERS = [
    -1, 0, 1, 2, 7, 127, 128, 255, 256, 1000, 65535, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1,
    1 << 64,
]  # fmt: skip
TEXTS = [
    "", "=1+1", "../../outside", "/etc/hostname", "nan", "inf", "-1", "1e400", "a" * 5000, "\0", "\ud800", "é\u202e", "<script>",
    "os.system", "__class__", "[red]x", "1_000", "9" * 400, "True", "null", "a\nb",
]  # fmt: skip
VALUES: list[Any] = [None, True, False, [], {}, [[]], {"a": {}}, 1.5, -0.0, 1e308, float("nan"), float("inf"), *NUMBERS, *TEXTS]
CALLS = [  # of a pickle: each would leave a trace if it were followed
    b"cos\nsystem\n(X\x0c\x00\x00\x00touch CANARYtR",
    b"cposix\nsystem\n(X\x0c\x00\x00\x00touch CANARYtR",
    b"cbuiltins\neval\n(X\x13\x00\x00\x00open('CANARY', 'w')tR",
    b"cbuiltins\ngetattr\n(cos\nsystem\nX\x08\x00\x00\x00__call__tR",
    b"csubprocess\nPopen\n(X\x04\x00\x00\x00truetR",
    b"ctorch\nload\n(X\x01\x00\x00\x00atR",
    b"ccollections\nOrderedDict\n)R}X\x08\x00\x00\x00__dict__}sb",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"r\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f1", b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x82\x01",
    b"(" * 3000, b"]" * 2000 + b"a" * 1999,
    b"0", b"2", b"22", b"b", b"\x81", b"R", b"t", b"u", b"e", b"Q", b"}", b"]", b")", b"N", b"\x93", b"h\x00", b"1", b"s",
    b"\x85", b".",
]  # fmt: skip


def some_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to six changes anywhere, half of the time near the beginning, where headers are."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        size = len(changed)
        at = rng.randrange(min(size, 256) if rng.random() < 0.5 else size) if size else 0
        kind = rng.randrange(8)
        if kind == 0 and size:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            width = rng.choice("BHIQ")
            value = rng.choice(NUMBERS) & ((1 << 8 * struct.calcsize(width)) - 1)
            raw = struct.pack(rng.choice("<>") + width, value)
            changed[at : at + len(raw)] = raw
        elif kind == 3:
            del changed[at:]
        elif kind == 4:
            del changed[at : at + rng.choice((1, 2, 4, 8, 64, 1000))]
        elif kind == 5:
            changed[at:at] = changed[at : at + rng.choice((1, 4, 16, 200))] * rng.choice((1, 2, 50))
        elif kind == 6:
            changed[at:at] = rng.randbytes(rng.choice((1, 4, 16)))
        else:
            other = rng.randrange(size) if size else 0
            changed[at : at + 16] = changed[other : other + 16]
    return bytes(changed)


def json_value(value: Any, rng: random.Random) -> Any:
    """One node of a JSON value replaced, taken out, doubled or filled."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        kind = rng.randrange(8)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return {**value, rng.choice(TEXTS): value[key]}
        if kind == 2:
            return {**value, key: value[rng.choice(list(value))]}
        return {**value, key: json_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        kind = rng.randrange(8)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value + value[at : at + 1] * rng.choice((1, 30))
        return [*value[:at], json_value(value[at], rng), *value[at + 1 :]]
    if isinstance(value, str) and value[:1] in ("{", "[") and rng.random() < 0.9:  # JSON inside JSON, as zoos have it
        try:
            return json.dumps(json_value(json.loads(value), rng))
        except ValueError:
            pass
    if isinstance(value, int | float) and rng.random() < 0.4:
        return value + rng.choice((-1, 1, 0.5, value, 1 << 20))
    return rng.choice(VALUES)


def json_text(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        return some_bytes(data, rng)
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2))):
        value = json_value(value, rng)
    if rng.random() < 0.02:
        return b"[" * rng.choice((100, 100_000)) + data
    return json.dumps(value).encode()


def json_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    try:
        lines[at] = json_text(lines[at], rng) + b"\n"
    except ValueError:
        lines[at] = some_bytes(lines[at], rng)
    return b"".join(lines)


def safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header as JSON; its checksum is made right again, as somebody would who means harm."""
    if rng.random() < 0.3:
        return some_bytes(data, rng)
    length = int.from_bytes(data[:8], "little")
    header = json_value(json.loads(data[8 : 8 + length]), rng)
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(metadata, dict) and "metadata_sha256" in metadata and rng.random() < 0.9:
        digest = hashlib.sha256()
        for key in sorted(metadata):
            if key != "metadata_sha256":
                digest.update(f"{key}\0{metadata[key]}\0".encode("utf-8", "surrogatepass"))
        metadata["metadata_sha256"] = digest.hexdigest()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = data[8 + length :]
    return struct.pack("<Q", len(text)) + text + (some_bytes(body, rng) if rng.random() < 0.1 else body)


def pickled(data: bytes, rng: random.Random) -> bytes:
    """Instructions put in, taken out or doubled between whole ones."""
    if rng.random() < 0.2:
        return some_bytes(data, rng)
    places = [position for _, _, position in pickletools.genops(data) if position is not None]
    for _ in range(rng.choice((1, 1, 2))):
        at, other = sorted((rng.choice(places), rng.choice(places)))
        kind = rng.randrange(4)
        if kind < 2:
            data = data[:at] + rng.choice(CALLS) + data[at:]
        elif kind == 2:
            data = data[:at] + data[other:]
        else:
            data = data[:other] + data[at:other] + data[other:]
    return data


def archive(inner: Callable[[str], Mutate], raw: float = 0.25, at_all: float = 1 / 3) -> Mutate:
    """An archive: an entry changed by `inner(name)`; a share `at_all` renamed, doubled, left out; a share `raw` by its bytes."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < raw:
            return some_bytes(data, rng)
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            entries = [(e.filename, old.read(e)) for e in old.infolist()]
        at = rng.randrange(len(entries))
        name, content = entries[at]
        kind = rng.randrange(4) if rng.random() < at_all else 4
        if kind == 0:
            entries.pop(at)
        elif kind == 1:
            entries[at] = rng.choice(TEXTS).replace("\ud800", "u") or "a", content
        elif kind == 2:
            entries.append((entries[rng.randrange(len(entries))][0] + rng.choice(("", ".npy", "/")), content))
        elif kind == 3:
            entries[at] = name, bytes(rng.choice((0, 10, 1 << 20)))
        else:
            entries[at] = name, inner(name)(content, rng)
        made = io.BytesIO()
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(made, "w", method) as new:
            for name, content in entries:
                new.writestr(zipfile.ZipInfo(name), content, method)
        return made.getvalue()

    return mutate


def packed(inner: Mutate) -> Mutate:
    def mutate(data: bytes, rng: random.Random) -> bytes:
        return some_bytes(data, rng) if rng.random() < 0.3 else gzip.compress(inner(gzip.decompress(data), rng), 1, mtime=0)

    return mutate


def npy(data: bytes, rng: random.Random) -> bytes:
    """The header, a Python literal, with other shapes and types."""
    if rng.random() < 0.4 or data[:6] != b"\x93NUMPY":
        return some_bytes(data, rng)
    size = 10 + int.from_bytes(data[8:10], "little")
    header = data[10:size].decode("latin-1").strip()
    swaps = [("'<f4'", rng.choice(("'|O'", "'<f8'", "'|S999999'", "'V0'", "[('a','<f4')]", "'<M8[s]'", "'<c8'", "'|u1'", "'>f4'")))]
    swaps.append(("(", rng.choice(("(-1, ", "(1099511627776, ", "(0, ", "(2**60, ", "((", "(9**9**9, ", "(1.5, ", "(True, "))))
    swaps.append(("False", rng.choice(("True", "None", "2", "[]"))))
    text = header.replace(*rng.choice(swaps)).encode("latin-1") + b"\n"
    return data[:8] + struct.pack("<H", len(text)) + text + data[size:]


def table(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return some_bytes(data, rng)
    rows = list(csv.reader(io.StringIO(data.decode())))
    row = rows[rng.randrange(len(rows))]
    kind, at = rng.randrange(6), rng.randrange(len(row))
    if kind == 0:
        row.pop(at)
    elif kind == 1:
        rows.append(list(row))
    elif kind == 2:
        rows.remove(row)
    elif kind == 3:
        row[at] = str(rng.choice(NUMBERS))
    else:
        row[at] = rng.choice(TEXTS)
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def matlab(data: bytes, rng: random.Random) -> bytes:
    """A compressed variable unpacked, changed and packed again; else the bytes."""
    kind, length = struct.unpack("<2I", data[128:136])
    if kind != 15 or rng.random() < 0.3:
        return some_bytes(data, rng)
    body = zlib.compress(some_bytes(zlib.decompress(data[136 : 136 + length]), rng), 1)
    return data[:128] + struct.pack("<2I", 15, len(body)) + body + data[136 + length :]
