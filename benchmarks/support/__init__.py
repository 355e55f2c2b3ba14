"""What the benchmarks share: random checkpoints, engines behind one interface, rounds, results."""
