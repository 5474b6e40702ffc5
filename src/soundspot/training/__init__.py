"""What a training run is made of, one file each; `soundspot.train` puts them together.

| file | what it knows |
|---|---|
| `learning` | one step: embed, loss, gradients over pieces and ranks, update, average |
| `schedule` | the learning rates of a step |
| `computing` | precision, compilation and memory: what changes the speed and not the idea |
| `hearing`, `joining` | every sound heard once: in parts, on all ranks; then one file |
| `banks` | whether a bank that is found is one's own, and whole |
| `feeding` | batches made ahead, in threads or processes |
| `keeping` | checkpoints: the last few, whole or not at all |
| `journal` | the log, the progress bar, TensorBoard |
| `validating` | judging the averaged model now and then; when to stop |
| `stopping` | signals that ask a run to save and leave |
| `starting` | the model before the first step, and the data behind a path |
| `origin`, `identity` | what a run learns from; what tells runs apart |
| `provenance` | what a run was made with |
| `products` | models as they will be used, and the other files of a run |
"""
