"""A worker that cleans up at once: `python -m tests.security.eager_worker`, with a worker's environment.

Its files are not compressed, so that what is in them can be found.
"""

from __future__ import annotations

from rocksdict import DBCompressionType, Options

from streams.app import run_worker
from streams.engine import housekeeping, store, transaction
from streams.settings import Settings

_options = store._options


def uncompressed() -> Options:
    options = _options()
    options.set_compression_type(DBCompressionType.none())
    return options


if __name__ == "__main__":
    housekeeping.HOUSEKEEPING_INTERVAL_S = 0.5
    housekeeping.PURGE_INTERVAL_S = 1.0
    store._options = uncompressed
    transaction.CHANGELOG_CODEC = transaction.CODECS["none"]
    run_worker(Settings.from_environment())
