"""The process that atheris drives; its arguments are libFuzzer's. Started by `tests.fuzz.guided`."""

from __future__ import annotations

import sys

import atheris

from tests.fuzz.guided import INSTRUMENTED

with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz.guided_targets import Mutator, try_one

if __name__ == "__main__":
    mutator = Mutator(int(next(option for option in sys.argv if option.startswith("-seed=")).removeprefix("-seed=")))

    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        return mutator(bytes(data), max_size, seed, atheris.Mutate)

    atheris.Setup(sys.argv, lambda data: try_one(data) and None, custom_mutator=mutated)
    atheris.Fuzz()
