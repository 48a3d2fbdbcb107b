"""Facts of families of datasets: D4RL, Minari, RL Unplugged and others."""
