"""Standalone programs that run a model file in its own framework; the only place where a framework is imported.

They are started as scripts (`serve.py`), import nothing of this package, and keep to syntax that Python 3.7 reads.
"""
