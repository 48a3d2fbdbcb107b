"""Mazes: a point mass between walls, and the controller that datasets of it are recorded with."""
