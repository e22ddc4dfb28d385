"""The parts of the benchmarks that calculate: what they count must be right, however fast the machine is."""
