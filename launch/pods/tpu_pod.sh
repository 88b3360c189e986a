#!/usr/bin/env bash
# One run on every host of a Cloud TPU slice, by gcloud. See README.md here.
#
#   export NAME=my-slice ZONE=us-east5-a TYPE=v5p-128 VERSION=v2-alpha-tpuv5
#   launch/pods/tpu_pod.sh create     # the slice (asks for spot capacity)
#   launch/pods/tpu_pod.sh install    # this checkout and its environment
#   launch/pods/tpu_pod.sh doctor     # is every host fit to run?
#   launch/pods/tpu_pod.sh run --experiment=random_computation --preset=paper
#   launch/pods/tpu_pod.sh follow     # what process 0 prints
#   launch/pods/tpu_pod.sh stop       # saves, then ends; `run` continues
#   launch/pods/tpu_pod.sh delete
#
# WORKDIR is one folder that all hosts see: an NFS mount (Filestore), or with
# BUCKET a bucket with hierarchical namespace, mounted by gcsfuse.
set -euo pipefail

: "${NAME:?the name of the slice}" "${ZONE:?such as us-east5-a}"
TYPE=${TYPE:-v5litepod-16}
VERSION=${VERSION:-v2-alpha-tpuv5-lite}
WORKDIR=${WORKDIR:-/mnt/simplex/run}
BUCKET=${BUCKET:-}
HERE=$(cd "$(dirname "$0")/../.." && pwd)

tpu() { gcloud compute tpus tpu-vm "$@" --zone="$ZONE"; }
on() { tpu ssh "$NAME" --worker="$1" --command="$2"; }

mount_bucket() {
  [[ -z $BUCKET ]] && return
  on all "mountpoint -q /mnt/simplex || { sudo mkdir -p /mnt/simplex &&
    sudo chown \$USER /mnt/simplex &&
    gcsfuse --implicit-dirs '$BUCKET' /mnt/simplex; }"
}

case ${1:-} in
  create) tpu create "$NAME" --accelerator-type="$TYPE" --version="$VERSION" --spot ;;
  install)
    tar -C "$HERE" --exclude-vcs --exclude=.venv --exclude=runs -czf /tmp/simplex.tgz .
    tpu scp /tmp/simplex.tgz "$NAME:simplex.tgz" --worker=all
    on all "mkdir -p simplex && tar -xzf simplex.tgz -C simplex && cd simplex &&
      python3 -m venv .venv && .venv/bin/pip install -q -e '.[tpu]' -c constraints.txt"
    mount_bucket
    ;;
  doctor) on all "cd simplex && .venv/bin/python -m launch.doctor --workdir='$WORKDIR'" ;;
  run)
    shift
    mount_bucket
    # JAX's own port for the coordinator, 8482, is closed in the default
    # firewall of newer slices; 8476 is open. nohup: ssh may leave.
    on all "cd simplex && JAX_COORDINATOR_PORT=8476 nohup .venv/bin/python \
      -m launch.run --distributed=on --workdir='$WORKDIR' $(printf '%q ' "$@") \
      > run.log 2>&1 < /dev/null & sleep 1"
    ;;
  follow) on 0 "tail -n 50 -f simplex/run.log" ;;
  stop) on all "pkill -TERM -f launch.run || true" ;;
  delete) tpu delete "$NAME" --quiet ;;
  *) sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
