"""Implementations on PyTorch: networks, losses and updates."""
