"""Lets tools that still call setup.py build offlinekit; everything is declared in pyproject.toml."""

from setuptools import setup

setup()
