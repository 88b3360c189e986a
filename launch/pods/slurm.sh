#!/usr/bin/env bash
# One run as a SLURM job, a process for each GPU. See README.md here.
#
#   sbatch --nodes=4 launch/pods/slurm.sh --experiment=random_computation \
#       --preset=gpu --workdir=/shared/runs/mine
#
# --workdir is on a disk that all nodes share. Two minutes before the time is up
# SLURM sends SIGTERM: the run saves and ends with 143, and is queued again.
#SBATCH --job-name=simplex
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=simplex-%j.log
set -uo pipefail

# `sbatch` runs a copy of this file, from the folder where it was called.
PYTHON=${PYTHON:-.venv/bin/python}

srun --kill-on-bad-exit=1 "$PYTHON" -m launch.run --distributed=on "$@"
code=$?
if ((code == 143)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
