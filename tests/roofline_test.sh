#!/bin/sh
# bench/roofline.py draws a recorded result: well-formed XML that names every target.
set -eu
command -v python3 > /dev/null || { echo 'skipped: no python3'; exit 77; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT
python3 bench/roofline.py tests/data/bench_result.json -o "$out"
python3 - "$out" << 'END'
import sys
import xml.etree.ElementTree as xml
root = xml.parse(sys.argv[1]).getroot()
assert root.tag == "{http://www.w3.org/2000/svg}svg", root.tag
text = " ".join(root.itertext())
for word in ("avx512vnni", "avx2", "int4x", "m = 384", "read bandwidth", "2 threads", "256: "):
    assert word in text, word
END
