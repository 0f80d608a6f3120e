"""What load costs each process: a linear model, its measurement, and a simulation of its queues."""
