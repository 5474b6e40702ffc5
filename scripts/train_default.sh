#!/usr/bin/env bash
# Make the default model from nothing:
#
#   scripts/train_default.sh DATA RUN
#
# DATA holds train/ (images/SET, sounds/SET, extra_sounds), val/ (pairs.jsonl,
# negatives.jsonl) and teacher/yamnet.safetensors; RUN is a folder for all that comes of it.
# Stopped at any point and started again, it goes on where it was. Needs soundspot[train].
set -euo pipefail
data=$1 run=$2
soundspot distill "$data/train/sounds" "$data/train/extra_sounds" \
  --teacher "$data/teacher/yamnet.safetensors" --out "$run/sound"
soundspot train "$data/train" --sound-tower "$run/sound/sound_tower.safetensors" --out "$run/model"
soundspot calibrate "$run/model/model.safetensors" "$data/val/pairs.jsonl" \
  "$data/val/negatives.jsonl" --method "combined(similarity_map, guided_backprop)" --size 384 \
  --out "$run/default.safetensors"
soundspot evaluate "$data/val/pairs.jsonl" "$data/val/negatives.jsonl" \
  --model "$run/default.safetensors" --methods all --json "$run/evaluation.json" \
  | tee "$run/evaluation.txt"
