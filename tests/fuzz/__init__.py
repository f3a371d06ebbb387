"""Any bytes on any topic that a worker reads: a response counts whole or not at all, internal topics stop it clearly.

    mutations.py        seeded mutations of good input: bytes, JSON's structure, keys, times
    internal.py         the same of what is in the changelogs
    targets.py          what is tried on an input, and what must come of it
    many.py             runs a great many on all cores
    guided.py           lets coverage lead (atheris), with guided_targets.py, guided_process.py, packed.py

`python -m tests.fuzz --inputs 10000000 --seed 1` and `python -m tests.fuzz.guided --seconds 600` are the long runs; the
tests are the short ones, with Hypothesis.
"""
