#!/bin/sh
# fetch-cuda.sh DIR: fetches what cuda-requirements.txt names, ONNX Runtime's CUDA provider into DIR/provider, the libraries
# it needs into DIR/libraries and the licences of all into DIR/licences. Needs python3 with pip, of any version: nothing of what it fetches is Python here.
set -eu
mkdir -p "$1/provider" "$1/libraries" "$1/licences"
licences=$(cd "$1/licences" && pwd)
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
python3 -m pip install --no-cache-dir --no-compile --no-deps --require-hashes --only-binary=:all: --python-version 3.12 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 \
  --platform manylinux2010_x86_64 --target "$wheels" --requirement "$(dirname "$0")/cuda-requirements.txt"
mv "$wheels/onnxruntime/capi/libonnxruntime_providers_cuda.so" \
  "$wheels/onnxruntime/capi/libonnxruntime_providers_shared.so" "$1/provider"
mv "$wheels"/nvidia/*/lib/*.so* "$1/libraries"
# Named after where they were, since most have the same name.
cd "$wheels"
find . -type f \( -iname 'licen[cs]e*' -o -iname 'thirdpartynotices*' \) | sed 's:^\./::' | while read -r file; do
  cp "$file" "$licences/$(echo "$file" | tr / -)"
done
