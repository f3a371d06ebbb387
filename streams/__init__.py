"""The processor: rules, engine, scoreboard, command line, and what runs beside the workers."""

import os

# NumPy adds up rows for us and multiplies no matrices: its BLAS need not start a thread for each core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
