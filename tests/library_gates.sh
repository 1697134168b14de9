#!/bin/sh
# library_gates.sh PROGRAM LIBRARY...: what the library must not be able to do, by its symbols and its
# sources: print, end the process, open a connection, write where nobody asked. Run from the project's root.
set -eu
program=$1
shift
status=0
fail() { echo "$1:"; echo "$2"; status=1; }
nm=${NM:-nm}

# Sources. An assert would be an abort that a file can reach.
found=$(grep -rnE '(^|[^a-zA-Z_.>])(f?printf|puts|fputs|putchar|perror|abort|exit|_exit|_Exit|quick_exit|assert) ?\(|std::(cout|cerr|clog|abort|exit|terminate)\b' \
  lib formats quant simd --include='*.cc' --include='*.h' --include='*.c' | grep -vE '^[^:]*:[0-9]*: *(//|\*)' || true)
[ -z "$found" ] || fail 'the library prints, ends the process or asserts' "$found"
found=$(grep -rnE '\b(std::)?(stoi|stol|stoul|stod|stof|atof|strtod|setlocale)\(' lib formats quant simd \
  --include='*.cc' --include='*.h' || true)
[ -z "$found" ] || fail 'numbers that depend on the locale' "$found"

# Symbols that the libraries import.
imports=$(for library in "$@"; do "$nm" -u "$library" 2>/dev/null; done | awk '{print $NF}' | sed 's/@.*//' | sort -u)
[ -n "$imports" ] || { echo "no symbols read from $*"; exit 1; }
forbidden='f?printf|v?f?printf|__f?printf_chk|puts|fputs|putchar|perror|fwrite|stdout|stderr|stdin|abort|exit|_exit|_Exit|quick_exit|__assert_fail|_ZSt4cout|_ZSt4cerr|_ZSt4clog|signal|sigaction|setlocale|fesetround|system|popen|execv[ep]*|fork'
found=$(echo "$imports" | grep -xE "$forbidden" || true)
[ -z "$found" ] || fail 'the library imports' "$found"
network='socket|connect|bind|listen|accept4?|send(to|msg)?|recv(from|msg)?|getaddrinfo|gethostbyname.*|gethostname|SSL_.*|curl_.*'
found=$( (echo "$imports"; "$nm" -D -u "$program" | awk '{print $NF}' | sed 's/@.*//') | grep -xE "$network" || true)
[ -z "$found" ] || fail 'something may open a connection' "$found"

# The program as it runs: what it asks of the system. (A machine may not allow to trace.)
if command -v strace >/dev/null 2>&1 && strace -o /dev/null true 2>/dev/null; then
  log=$(mktemp)
  echo 'What is "cat" in Chinese?' | strace -f -qq -o "$log" \
    -e trace=%network,open,openat,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,truncate,execve \
    "$program" chat builtin --temp 0 >/dev/null
  grep -q openat "$log" || fail 'strace saw nothing' "$(cat "$log")"
  found=$(grep -vE '(open|openat)\(.*O_RDONLY|execve\("[^"]*glint"|^[0-9]+ +(\+\+\+|---)|resumed>' "$log" || true)
  [ -z "$found" ] || fail 'a chat does more than to read' "$found"
  found=$(grep -c execve "$log")
  [ "$found" = 1 ] || fail 'a chat starts another program' "$(grep execve "$log")"
  rm -f "$log"
else
  echo 'no strace: what a chat asks of the system was not looked at'
fi
exit $status
