#!/bin/sh
# From a fresh checkout to a chat: installs the Debian packages that a build needs (or names them), builds,
# and holds a short conversation in Chinese and English with the model that is built into glint.
set -eu
cd "$(dirname "$0")/.."
sh tests/packages.sh
[ -f build/build.ninja ] || meson setup build >/dev/null
ninja -C build examples/glint
glint=build/examples/glint
echo
for question in 'hello' '你好' 'what is the capital of France?' '猫用英语怎么说？' 'what is 7 plus 5?'; do
  printf 'you   > %s\nglint > ' "$question"
  printf '%s\n' "$question" | "$glint" chat builtin --seed 1
done
echo
echo "glint is ready: $glint          chat with the built-in model"
echo "                $glint --help   everything else, such as converting and running ChatGLM-6B"
