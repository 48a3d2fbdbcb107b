"""Minibatches of data that grow while a policy acts, alone or mixed with recorded ones."""
