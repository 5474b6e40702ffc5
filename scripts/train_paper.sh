#!/usr/bin/env bash
# Make the four models of the paper's comparison, from the default model's sound tower:
#
#   scripts/train_paper.sh DATA RUN
#
# DATA holds train/ (images/SET, sounds/SET, extra_sounds) and val/ (pairs.jsonl,
# negatives.jsonl); RUN is a folder for all that comes of it. Stopped at any point and started
# again, it goes on where it was. Needs soundspot[train].
set -euo pipefail
data=$1 run=$2
mkdir -p "$run"
for model in attention clusters fusion pixel_sound; do
  [ -e "$run/$model.safetensors" ] && continue
  soundspot train "$data/train" --model "$model" --bank "$run/bank" --out "$run/$model"
  soundspot calibrate "$run/$model/model.safetensors" "$data/val/pairs.jsonl" \
    "$data/val/negatives.jsonl" --method "combined(similarity_map, guided_backprop)" --size 288 \
    --base default --out "$run/$model.safetensors"
done
