"""`nps` whose consumers believe that time flies: `python -m tests.support.idle_nps worker`, with its environment.

To them half a second without a fetch is more than a day.
"""

from __future__ import annotations

from aiokafka.consumer.subscription_state import SubscriptionState

from streams.cli import main

DAYS_A_SECOND = 3
_idle_s = SubscriptionState.fetcher_idle_time.fget


def idle_s(subscriptions: SubscriptionState) -> float:
    found: float = _idle_s(subscriptions) * DAYS_A_SECOND * 86_400
    return found


if __name__ == "__main__":
    SubscriptionState.fetcher_idle_time = property(idle_s)
    main()
