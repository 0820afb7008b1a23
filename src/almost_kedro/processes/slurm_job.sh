#!/bin/bash
# What a job of ours does on its first node. Arguments: how many seconds a network file system may
# take to show a new file, that file, Kedro's folder, and the program's command, word by word.
patience=$1 needed=$2 folder=$3
shift 3
for ((second = 0; second < patience; second++)); do
  [ -r "$needed" ] && break
  sleep 1
done
[ -r "$needed" ] && cd "$folder" || exit 66
# srun does not take this over by itself.
[ -n "$SLURM_CPUS_PER_TASK" ] && export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
exec "$@"
