"""Node time, for everybody above the lanes."""

from cdn.proxy._clock import Clock, FakeClock

__all__ = ["Clock", "FakeClock"]
