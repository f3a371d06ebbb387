"""A deterministic simulation of the engine: real workers' code, a cluster in memory, time that is only a number.

    schedule.py   what happens, as a list of elements drawn from a seed
    world.py      one world: cluster, group, disks, workers, put in place of what the engine meets in production
    worker.py     a worker process that can be killed or frozen at any request: `streams.engine.engine.Engine` and below
    group.py      the consumer group: who is a member, who owns what
    clients.py    the Kafka clients that the engine uses, as it uses them
    cases.py      what workers are fed, and what the oracle says of it
    cluster.py    logs, transactions, offsets
    disk.py       state directories, and what a crash leaves of them
    loop.py       the event loop: virtual time, and processes that stand still
    checks.py     what must hold
    run.py        runs one schedule: tells the story, heals the world, checks
    many.py       runs many, on all cores

Each schedule is repeatable by its seed: `python -m tests.simulation --seed 17`.
"""
