"""Let coverage lead: `python -m tests.fuzz.guided [--seconds N] [--seed S]`, atheris (libFuzzer) on all that reads.

`--input BASE64`, as a failure prints it, tries that one alone. It begins with inputs made from the `tables` corpus, and
keeps nothing. What counts as coverage are the branches of `schemas` and `streams`; compiled parsers are not
seen. Failures are those of `targets.py`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

INSTRUMENTED = ["schemas", "streams"]
INPUT_BYTES_MAX = 4_096
GRACE_S = 120
"""For instrumenting, the first pass over the seeds, and a last input that takes long."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", help="base64 of one input to try")
    arguments = parser.parse_args()
    if arguments.input:
        from tests.fuzz.guided_targets import try_one

        print(try_one(base64.b64decode(arguments.input)))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        return run(Path(directory), arguments.seconds, arguments.seed)


def run(directory: Path, seconds: int, seed: int) -> int:
    """Fuzz in a process of its own, which libFuzzer ends as it likes; returns 1 when something failed."""
    from tests.fuzz.guided_targets import seeds

    corpus = directory / "corpus"
    corpus.mkdir()
    for data in seeds(seed):
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    (directory / "tokens").write_text(_dictionary())
    options = {
        "max_total_time": seconds,
        "seed": seed,
        "max_len": INPUT_BYTES_MAX,
        "timeout": 20,
        "print_final_stats": 1,
        "dict": directory / "tokens",
        "artifact_prefix": f"{directory}/",
    }
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.guided_process",
        *(f"-{name}={value}" for name, value in options.items()),
    ]
    ended = subprocess.run(
        [*command, str(corpus)],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=seconds + GRACE_S,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    said = ended.stderr
    tried = re.search(r"number_of_executed_units: (\d+)", said)
    covered = re.findall(r"\bcov: (\d+)", said)
    if ended.returncode == 0 and tried and covered:
        number = int(tried[1])
        print(f"{number:,} inputs of seed {seed} in {seconds} s, 0 failed; {covered[-1]} edges of Python covered")
        return 0
    print(said[-8_000:])
    for kept in directory.glob("*-*"):
        print(f"again: python -m tests.fuzz.guided --input {base64.b64encode(kept.read_bytes()).decode()}")
    print(f"an input of seed {seed} FAILED")
    return 1


def _dictionary() -> str:
    from tests.fuzz.mutations import FIELDS, TOKENS

    tokens = (*TOKENS, *(f'"{field}":'.encode("utf-8", "replace") for field in FIELDS))
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in tokens if len(token) <= 64)


if __name__ == "__main__":
    sys.exit(main())
