#!/bin/bash
# Builds the bundle of CNStack CE from this folder: bash build.sh TAG KEY
# The base is taken from ackdistro.tar.zst beside this folder, made from
# testdata/ackdistro in the same way.
set -euo pipefail
cd "$(dirname "$0")"
exec bundle build . \
  --name cnstack-ce --version "${1:?usage: build.sh TAG KEY}" \
  --from bundle:../ackdistro.tar.zst \
  --key "${2:?usage: build.sh TAG KEY}"
