"""Trains the vocabulary with spm_train and arranges its pieces as THUDM's ice_text.model has them.

    python3 make_tokenizer.py --work WORKDIR     reads WORKDIR/spm.tsv, writes model/ice_text.model

The order of the ids is that of ChatGLM-6B (there: 5..129999 words, 130000 [MASK], ...):
    0 <unk>  1 <s>  2 </s>  3 <pad>  4 <n> | words by falling score | [MASK] [gMASK] [sMASK] <unused_0> <sop> <eop>
    <ENC> <dBLOCK> | <|tab|> <|blank_2|> .. <|blank_80|> | 256 bytes
"""
import argparse
import os
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "model", "ice_text.model")
SPECIALS = ["[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>"]
BLANKS = ["<|tab|>"] + ["<|blank_%d|>" % k for k in range(2, 81)]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # sentencepiece's piece types
FIXED = 5 + len(SPECIALS) + len(BLANKS) + 256


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def write_varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def read_fields(data):
    """The fields of a protobuf message: (number, wire type, value)."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = read_varint(data, at)
        else:
            size, at = read_varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = data[at:at + size], at + size
        yield tag >> 3, kind, value


def write_field(field, kind, value):
    head = write_varint(field << 3 | kind)
    if kind == 0:
        return head + write_varint(value)
    return head + (write_varint(len(value)) if kind == 2 else b"") + value


def piece_message(text, score, kind):
    message = write_field(1, 2, text.encode()) + write_field(2, 5, struct.pack("<f", score))
    return message + (b"" if kind == NORMAL else write_field(3, 0, kind))


def parse_piece(message):
    fields = {number: value for number, _, value in read_fields(message)}
    return fields[1].decode(), struct.unpack("<f", fields[2])[0], fields.get(3, NORMAL)


def is_han(character):
    return "\u4e00" <= character <= "\u9fff"


def useful(text):
    """Drop a space glued to a Chinese word, long Chinese pieces, and words glued to punctuation: they make two forms of
    one word or swallow a phrase."""
    if any(map(is_han, text)):
        return len(text) <= 5 and all(map(is_han, text))
    return text.lstrip("\u2581").isalpha()


def train(work, size):
    prefix = os.path.join(work, "spm")
    subprocess.run([
        "spm_train", "--input=" + os.path.join(work, "spm.tsv"), "--model_prefix=" + prefix, "--model_type=unigram",
        "--vocab_size=%d" % size, "--character_coverage=1.0", "--normalization_rule_name=nmt_nfkc", "--byte_fallback=true",
        "--split_digits=true", "--input_format=tsv", "--pad_id=3", "--user_defined_symbols=<n>," + ",".join(BLANKS),
        "--control_symbols=" + ",".join(SPECIALS), "--num_threads=1", "--minloglevel=1"], check=True)
    with open(prefix + ".model", "rb") as f:
        return list(read_fields(f.read()))


def arrange(fields, words_wanted):
    """The same model with its pieces in ChatGLM's order, the least probable words left out."""
    pieces = [parse_piece(value) for number, _, value in fields if number == 1]
    normal = sorted((p for p in pieces if p[2] == NORMAL), key=lambda p: (-p[1], p[0]))
    single = [p for p in normal if len(p[0]) == 1]  # every character stays, whatever its score
    longer = [p for p in normal if len(p[0]) > 1 and useful(p[0])][:words_wanted - len(single)]
    words = sorted(single + longer, key=lambda p: (-p[1], p[0]))
    order = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), ("<pad>", 0.0, CONTROL),
             ("<n>", 0.0, USER_DEFINED)] + words
    order += [(s, 0.0, CONTROL) for s in SPECIALS] + [(s, 0.0, USER_DEFINED) for s in BLANKS]
    order += [("<0x%02X>" % b, 0.0, BYTE) for b in range(256)]
    body = b"".join(write_field(1, 2, piece_message(*p)) for p in order)
    rest = [f for f in fields if f[0] == 3]  # the normalizer; the trainer's record is written below
    trainer = write_field(3, 0, 1) + write_field(4, 0, len(order)) + write_field(25, 0, 1) + \
        write_field(35, 0, 1) + write_field(43, 0, 3)
    return body + write_field(2, 2, trainer) + b"".join(write_field(*f) for f in rest), order


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--pieces", type=int, default=2880, help="ids in all")
    args = parser.parse_args()
    fields = train(args.work, args.pieces + 500)
    model, order = arrange(fields, args.pieces - FIXED)
    os.makedirs(os.path.dirname(MODEL), exist_ok=True)
    with open(MODEL, "wb") as f:
        f.write(model)
    print("%d pieces, [gMASK] = %d" % (len(order), [p[0] for p in order].index("[gMASK]")))


if __name__ == "__main__":
    main()
