"""A simulated social network: deterministic by seed, with its ground truth beside it.

Belongs here: `world` (who and what exists), `activity` (what happens in a window of time), `faults` (what goes wrong on
the way), `truth` (what the numbers must be), `run` (pacing and delivery). Does not belong here: anything a real source
needs.

Every window of time is a pure function of (seed, rate, window): it can be generated alone, in any order, and again
after a crash.
"""

from streaming.simulator.activity import SimulatedNetwork, SimulationConfig
from streaming.simulator.faults import Delivery, FaultRates, deliver
from streaming.simulator.truth import Truth

__all__ = ["Delivery", "FaultRates", "SimulatedNetwork", "SimulationConfig", "Truth", "deliver"]
