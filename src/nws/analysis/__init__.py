"""Zoos and results in, tables (DataFrames) out: one function per table, each of which a figure draws.

Notes that a reader of the table must know, such as which nets were left out, are in `frame.attrs["notes"]`.
"""
