"""Writes tiny_spm.model, a sentencepiece Unigram model of a few hundred pieces made by hand.

    python3 make_tiny_spm.py

It has what the tokenizer must cope with: normal, unused, control, user-defined and byte pieces, ways of
cutting a text that tie, and a precompiled charsmap (full-width forms, composition, spaces, a rule that
deletes). Ids are not ChatGLM-6B's, and of the blank pieces only 2, 3, 4 and 8 exist.
"""
import os
import struct

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "\u2581"
RULES = {
    "\t": " ", "\n": " ", "\u3000": " ", "\u00a0": " ", "\u200b": "", "\x7f": "",
    "\uff21": "A", "\uff22": "B", "\uff0c": ",", "\uff01": "!", "\u2460": "1", "\u246a": "11",
    "e\u0301": "\u00e9", "e\u0301\u0323": "\u1eb9\u0301", "\ufdfa": "\u0635\u0644\u0649 \u0627",
    "\u00bd": "1\u20442", "\u2003": "  ",
}
WORDS = {  # piece: log probability; sums such as "ab" + "c" = "a" + "bc" tie
    SPACE: -2.0, "a": -3.0, "b": -3.5, "c": -3.25, "e": -3.0, "h": -4.0, "l": -3.75, "o": -3.5, "1": -3.0,
    "ab": -4.5, "bc": -4.75, "abc": -8.5, SPACE + "a": -2.5, SPACE + "ab": -3.5, "hello": -7.0,
    SPACE + "hello": -5.5, "ll": -5.0, "lo": -5.0, ",": -3.0, "!": -3.0, "A": -4.0, "\u00e9": -5.0,
    "\u4f60": -4.5, "\u597d": -4.5, "\u4f60\u597d": -6.0, "\u4e16\u754c": -6.5, "\u95ee": -5.0, "n": -4.0,
    "<": -6.0, ">": -6.0, "aaaa": -6.0, "aaaaaaaa": -9.0, SPACE + SPACE: -9.5, "\U0001f600": -8.0,
}


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def double_array(rules):
    """darts-clone's trie of {key bytes: value}: see lib/text/charsmap.h for the units."""
    root = {}
    for key, value in rules.items():
        node = root
        for byte in key:
            node = node.setdefault(byte, {})
        node[None] = value
    units, used = [0] * 256, [False] * 256
    used[0] = True
    todo = [(0, 0, root)]  # unit, its label, node
    while todo:
        unit, label, node = todo.pop(0)
        labels = [0 if byte is None else byte for byte in node]
        base = 1
        while any(base ^ x < len(used) and used[base ^ x] for x in labels) or base == unit:
            base += 1
        while base | 255 >= len(units):
            units += [0] * 256
            used += [False] * 256
        units[unit] = (unit ^ base) << 10 | (256 if None in node else 0) | label
        for byte, child in node.items():
            place = base ^ (byte or 0)
            used[place] = True
            if byte is None:
                units[place] = child | 1 << 31
            else:
                todo.append((place, byte, child))
    # A unit not in use must not look like a child by a zero byte.
    return b"".join(struct.pack("<I", u if used[i] else 0xFF ^ i & 0xFF) for i, u in enumerate(units))


def charsmap():
    text, values = b"", {}
    for key, value in sorted(RULES.items()):
        values[key.encode()] = len(text)
        text += value.encode() + b"\0"
    trie = double_array(values)
    return struct.pack("<I", len(trie)) + trie + text


def pieces():
    yield "<unk>", 0.0, UNKNOWN
    for name in ["<s>", "</s>", "<pad>"]:
        yield name, 0.0, CONTROL
    yield "<n>", 0.0, USER_DEFINED
    for name, score in WORDS.items():
        yield name, score, NORMAL
    yield "o!", -1.0, UNUSED
    for name in ["[MASK]", "[gMASK]", "<sop>", "<eop>"]:
        yield name, 0.0, CONTROL
    for name in ["<|tab|>"] + ["<|blank_%d|>" % k for k in (2, 3, 4, 8)] + ["a b", "<n>x"]:
        yield name, 0.0, USER_DEFINED
    for byte in range(256):
        yield "<0x%02X>" % byte, 0.0, BYTE


def main():
    out = b""
    for text, score, kind in pieces():
        out += field(1, field(1, text.encode()) + field(2, score) + field(3, kind))
    trainer = field(3, 1) + field(35, 1) + field(40, 0) + field(41, 1) + field(42, 2) + field(43, 3)
    normalizer = field(1, b"tiny") + field(2, charsmap()) + field(3, 1) + field(4, 1) + field(5, 1)
    out += field(2, trainer) + field(3, normalizer)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny_spm.model")
    with open(path, "wb") as file:
        file.write(out)
    print(path, len(out), "bytes")


if __name__ == "__main__":
    main()
