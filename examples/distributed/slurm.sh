#!/usr/bin/env bash
# Slurm: one task a host, each with all the host's GPUs. Preempted, it saves and is put into the queue again.
#   sbatch --nodes=2 --gpus-per-node=4 examples/distributed/slurm.sh --flagfile=configs/paper.flags --workdir=runs/paper
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --signal=TERM@120
set -euo pipefail
port=$((20000 + SLURM_JOB_ID % 20000))
HOSTS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/\$/:$port/" | paste -sd,)
export HOSTS
# without --kill-on-bad-exit the others would only be told by TensorFlow, within seconds
exec srun --kill-on-bad-exit=0 bash -c 'INDEX=$SLURM_PROCID exec examples/distributed/hosts.sh "$@"' bash "$@"
