"""Minibatches: columns on the device, and what draws rows of them."""
