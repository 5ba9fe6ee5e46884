#!/bin/sh
# Builds the sample: worker, load, hammer, supervisor and libwatermark.so, into $OUT.
#
#   GO        the go command                     (go)
#   CC, CXX   the compilers                      (cc, c++)
#   OUT       where to                           (sample_go_cgo/bin)
#   LDFLAGS   for the Go linker, e.g. "-s -w"    (none)
#   SOFLAGS   more flags for libwatermark.so     (none)
#   arguments go to go build: build.sh -buildmode=pie -tags x
#
# Needs these three commands and nothing from the network.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
GO=${GO:-go}
CC=${CC:-cc}
CXX=${CXX:-c++}
OUT=${OUT:-$here/bin}
export CC CXX CGO_ENABLED=1 GOTOOLCHAIN=local GOWORK=off

mkdir -p "$OUT"
OUT=$(CDPATH='' cd -- "$OUT" && pwd)
cd "$here"
# Outside a git checkout, or in one that git distrusts, go build would fail for want of a version stamp.
"$GO" build -buildvcs=false ${LDFLAGS:+"-ldflags=$LDFLAGS"} "$@" -o "$OUT/" ./cmd/...
# shellcheck disable=SC2086 # SOFLAGS is a list of words.
"$CC" -std=c11 -O2 -fomit-frame-pointer -g -Wall -Wextra -fPIC -shared -Wl,-soname,libwatermark.so \
  ${SOFLAGS:-} -o "$OUT/libwatermark.so" plugin/watermark.c
