"""Any bytes on any topic that a worker reads: a response counts whole or not at all, internal topics stop it clearly.

    mutations.py   seeded mutations of good input: bytes, JSON's structure, keys, times
    targets.py     what is tried on an input, and what must come of it
    many.py        runs a great many on all cores

`python -m tests.fuzz --inputs 10000000 --seed 1` is the long run; the tests are the short one, with Hypothesis.
"""
