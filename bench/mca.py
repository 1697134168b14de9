#!/usr/bin/env python3
"""mca.py BUILD_DIR: what llvm-mca says of the matmul of many tokens on ARM, as a Markdown table.

BUILD_DIR is an aarch64 build (tests/cross_arm.sh). Of each kernel the loop over 64 columns of
a full register tile is cut out of the object file, unrolled as it runs, and given to llvm-mca with
models of four processors. Two shares of the rate at which that model issues independent dots: the
dots alone (the innermost loop without the arithmetic of scales, but with all its loads, stores and
starts of sums), and everything.
"""
import os
import re
import shutil
import subprocess
import sys

MCA = "llvm-mca-19"
OBJDUMP = "aarch64-linux-gnu-objdump"
COMPILER = "aarch64-linux-gnu-g++"
MODELS = ["neoverse-n1", "neoverse-v1", "cortex-a78", "apple-m1"]
TYPES = ["int4", "int8", "int4x", "int4a", "int3", "int6"]
# Of each target: the instruction counted as the dot, and how many of it multiply one vector of rows
# with one token's 64 columns; what one dot consists of, to find its rate ({d}: its register).
TARGETS = {
    "i8mm": ("smmla", 8, ["smmla v{d}.4s, v30.16b, v31.16b"]),
    "dotprod": ("sdot", 16, ["sdot v{d}.4s, v30.16b, v31.16b"]),
    "neon": ("sadalp", 16, ["smull v28.8h, v30.8b, v31.8b", "smull2 v29.8h, v30.16b, v31.16b",
                            "addp v28.8h, v28.8h, v29.8h", "sadalp v{d}.4s, v28.8h"]),
}
# Arithmetic of the scale steps, which "dots alone" leaves out.
SCALES = {"mul", "mla", "mls", "sub", "scvtf", "fmla", "fmul", "fadd", "uzp1", "uzp2",
          "zip1", "zip2"}
PANEL_TOKENS = 4
ITERATIONS = 100


def cycles(code, model):
    """Cycles that one pass over the lines takes, in a steady state."""
    text = "loop:\n" + "\n".join(code) + "\n"
    run = subprocess.run([MCA, "-mtriple=aarch64", "-mcpu=" + model, "-mattr=+dotprod,+i8mm",
                          f"-iterations={ITERATIONS}", "-"], input=text, capture_output=True, text=True)
    total = re.search(r"Total Cycles:\s+(\d+)", run.stdout)
    if not total:
        sys.exit(f"mca.py: {MCA} failed: {run.stderr.strip()[:300]}")
    return int(total.group(1)) / ITERATIONS


def function(path, pattern):
    """The instructions of the first function whose name matches: [(address, text)]; and its name."""
    run = subprocess.run([OBJDUMP, "-dC", "--no-show-raw-insn", path], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"mca.py: {run.stderr.strip()}")
    body, name = [], None
    for line in run.stdout.splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if head:
            if name:
                break
            name = head.group(1) if re.search(pattern, head.group(1)) else None
            continue
        instruction = re.match(r"\s+([0-9a-f]+):\t(.*)", line)
        if name and instruction:
            text = re.sub(r"\s*//.*|\s*<.*", "", instruction.group(2)).replace("\t", " ")
            body.append((int(instruction.group(1), 16), text))
    return body, name


BRANCH = re.compile(r"^(b|b\.\w+|cbn?z \w+,|tbn?z \w+, #\w+,) ([0-9a-f]+)$")


def loops_with(body, dot):
    """The two innermost loops that contain the dot, outer first: pairs of indices, ends included.

    (What seems to be a loop around them may be code moved out of line, which jumps back.)
    """
    index = {address: i for i, (address, _) in enumerate(body)}
    dots = [i for i, (_, text) in enumerate(body) if text.split(" ")[0] == dot]
    heads = {}
    for i, (_, text) in enumerate(body):
        branch = BRANCH.match(text)
        head = index.get(int(branch.group(2), 16)) if branch else None
        if head is not None and head <= i:
            if any(head <= at <= i for at in dots):
                heads[head] = max(heads.get(head, 0), i)
    found = sorted(heads.items(), key=lambda loop: loop[0] - loop[1])
    nest = [loop for i, loop in enumerate(found)
            if all(out[0] <= loop[0] and loop[1] <= out[1] for out in found[:i])]
    return nest[-2:]


def unrolled(body, loops, repeats):
    """The lines of the outermost loop, the inner one repeated; forward branches are not taken."""
    begin, end = loops[0]
    lines = []
    for i in range(begin, end + 1):
        lines.append(BRANCH.sub(r"\1 loop", body[i][1]))
        if len(loops) > 1 and i == loops[1][1]:
            lines += (repeats - 1) * lines[loops[1][0] - begin:]
    return lines


def count(lines, name):
    return sum(line.split(" ")[0] == name for line in lines)


def report(build, target, dtype):
    dot, per_vector, one_dot = TARGETS[target]
    path = f"{build}/simd/libkernels_{target}.a.p/kernels_matmul_{dtype}.cc.o"
    body, name = function(path, rf"SlabPass<.*>::Run<\d+ul, {PANEL_TOKENS}ul>")
    if not name:
        sys.exit(f"mca.py: {path} has no SlabPass::Run of {PANEL_TOKENS} tokens")
    groups = int(re.search(r"Run<(\d+)ul", name).group(1))
    loops = loops_with(body, dot)
    want = per_vector * groups * PANEL_TOKENS
    if not loops:
        sys.exit(f"mca.py: {path}: no loop has {dot}")
    inner = unrolled(body, loops[-1:], 1)
    repeats = want // count(inner, dot)
    everything = unrolled(body, loops, repeats)
    if count(everything, dot) != want:
        sys.exit(f"mca.py: {path}: the loops have {count(everything, dot)} {dot}, not {want}")
    alone = [line for line in inner if line.split(" ")[0] not in SCALES]
    cells = []
    for model in MODELS:
        independent = [line.format(d=d) for d in range(16) for line in one_dot]
        rate = 16 / cycles(independent, model)
        spent = cycles(everything, model)
        share_alone = count(alone, dot) / cycles(alone, model) / rate
        cells.append(f"{share_alone:.0%}, {want / spent / rate:.0%}, {spent:.0f} at {rate:.1f}")
    row = [target, dtype, f"{groups} x {PANEL_TOKENS}", f"{want} {dot}"] + cells
    print("| " + " | ".join(row) + " |", flush=True)


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: mca.py BUILD_DIR [TARGET...]")
    for tool, package in (MCA, "llvm-19"), (OBJDUMP, "binutils-aarch64-linux-gnu"):
        if not shutil.which(tool):
            sys.exit(f"mca.py: {tool} is missing; it is in the package {package}")
    if not os.path.isdir(f"{sys.argv[1]}/simd/libkernels_dotprod.a.p"):
        hint = "" if shutil.which(COMPILER) else f" ({COMPILER} is missing: g++-aarch64-linux-gnu)"
        sys.exit(f"mca.py: {sys.argv[1]}: no aarch64 build; tests/cross_arm.sh makes one{hint}")
    print("Each: dots alone, everything, cycles per 64 columns at the most dots per cycle.\n")
    print("| target | type | tile | per 64 columns | " + " | ".join(MODELS) + " |")
    print("|---" * (4 + len(MODELS)) + "|")
    for target in sys.argv[2:] or TARGETS:
        for dtype in TYPES:
            report(sys.argv[1], target, dtype)


if __name__ == "__main__":
    main()
