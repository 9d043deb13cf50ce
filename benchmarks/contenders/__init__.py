"""Who is measured by `benchmarks/peers.py`: one file for each library, all training the same network.

A contender is a class that takes a `Problem` and has `num_replicas`, `train_epoch()`, which takes every step of one
more epoch and returns the seconds of it, and `loss()`, the mean training loss of its first replica now, or None where
nothing is learnt. All but scikit-learn start from nnbench's own initial parameters and take nnbench's batches, seed by
seed, so that their losses must agree. Replica r has seed r. Drawing and gathering the batches is on everyone's clock.

To add one: a file with its class and a line in `benchmarks/peers.py`. Each contender runs in a process of its own, see
`contenders.worker`, so that it may import what it likes.
"""
