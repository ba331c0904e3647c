#!/usr/bin/env bash
# Several hosts by hand: the same line on each, with its own number, from 0 up.
#   HOSTS=ada:2222,bob:2222 INDEX=0 examples/distributed/hosts.sh --flagfile=configs/paper.flags --workdir=runs/paper
set -euo pipefail
: "${HOSTS:?the hosts and their free ports: ada:2222,bob:2222}" "${INDEX:?the number of this host, from 0 up}"
workers=\"${HOSTS//,/\",\"}\"
export TF_CONFIG="{\"cluster\": {\"worker\": [$workers]}, \"task\": {\"type\": \"worker\", \"index\": $INDEX}}"
exec "${PYTHON:-python}" -m tf_deblur.train "$@"
