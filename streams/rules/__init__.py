"""What a response means: journeys, events, counts, windows, scores. Pure: values in, decisions out.

No Kafka, no clock, no logging, no I/O; nothing here changes what it is given. Record time is the only clock.
"""
