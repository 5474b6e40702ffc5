"""The referee's parts, from samples to findings; `soundspot.benchmark` puts them together.

| file | what it knows |
|---|---|
| `plan` | which samples are judged, what each is asked, which sound is wrong for it |
| `reading` | the media of samples |
| `asking`, `map_folder`, `blind` | who answers: models, map folders, maps that look at nothing |
| `referee` | block by block: read, ask, judge, note down |
| `findings`, `ledger` | what was found so far, in memory and on disk |
| `ranks` | several processes on one job |
| `scoring`, `summary`, `conventions` | from findings to rows, and from rows to a report |
| `exhibits` | the best and the worst samples, drawn |
"""
