"""A simulator: random worlds against the real middlewares, with a moved clock and without a network.

:class:`World` says what a site and its crawl are like, :func:`play` plays it, and the :class:`Outcome` measures what
came of it against what the site knows: which page was open to whom, and which login had ended.
"""

from tests.support.simulator.outcome import Outcome, Totals
from tests.support.simulator.play import play
from tests.support.simulator.world import World

__all__ = ["Outcome", "Totals", "World", "play"]
