"""When a container that has ended is started again: kubelet's rule.

The first end is answered at once. After each further one the container waits 10, 20, 40, … up to
300 seconds, counted from its end. Ten minutes without an end, and it begins anew.

Source: client-go util/flowcontrol/backoff.go (expiry after twice the maximum) as kubelet uses it
in kuberuntime_manager.go doBackOff.
"""

from __future__ import annotations

from dataclasses import dataclass

INITIAL_SECONDS = 10.0
MAX_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """`delay` is what the next end costs, `since` the time of the last start that it caused."""

    delay: float = 0.0
    since: float = 0.0

    def after_end(self, now: float) -> tuple[float, Backoff]:
        """Seconds to wait before the restart of a container that ends now, and what follows."""
        if self.delay and now - self.since > 2 * MAX_SECONDS:
            return Backoff().after_end(now)
        following = min(self.delay * 2, MAX_SECONDS) if self.delay else INITIAL_SECONDS
        return self.delay, Backoff(following, now + self.delay)
