#!/usr/bin/env bash
# Make the default model from nothing:
#
#   scripts/train_default.sh DATA RUN
#
# DATA holds train/ (images/SET, sounds/SET, extra_sounds), val/ (pairs.jsonl,
# negatives.jsonl) and teacher/yamnet.safetensors; RUN is a folder for all that comes of it.
# Four runs from one start differ in what they see and mind; their weights are averaged, and the
# picture tower is taken back part of the way to what it knew before.
# Stopped at any point and started again, it goes on where it was. Needs soundspot[train].
set -euo pipefail
if [ $# -ne 2 ]; then
  echo "usage: scripts/train_default.sh DATA RUN" >&2
  exit 2
fi
data=$1 run=$2
method="multi_scale(combined(similarity_map, inner_gradient, weights=(2, 3), blur=0.05, scaling='deviation'))"
soundspot distill "$data/train/sounds" "$data/train/extra_sounds" \
  --teacher "$data/teacher/yamnet.safetensors" --out "$run/sound"
train() {  # train NAME OPTIONS...
  soundspot train "$data/train" --sound-tower "$run/sound/sound_tower.safetensors" \
    --bank "$run/bank" --out "$run/$1" "${@:2}"
}
train plain
train dark --objective dark_contrast --side 192
train mosaics --objective dark_contrast --mosaics 0.4
train frozen --tower-rate 0
soundspot average "$run"/{plain,dark,mosaics,frozen}/model.safetensors --tower-kept 0.6 \
  --out "$run/mean.safetensors"
soundspot calibrate "$run/mean.safetensors" "$data/val/pairs.jsonl" "$data/val/negatives.jsonl" \
  --method "$method" --size 512 --proportions kept --out "$run/default.safetensors"
soundspot evaluate "$data/val/pairs.jsonl" "$data/val/negatives.jsonl" \
  --model "$run/default.safetensors" --json "$run/evaluation.json" | tee "$run/evaluation.txt"
