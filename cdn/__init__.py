"""A caching reverse proxy: Python for everything that decides, Cython for everything that is hot."""

__version__ = "0.1.0"
