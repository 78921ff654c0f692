"""pytest plugin of Syncgate, the gate in front of Argo CD.

It reports every attempt of every test to the gate while the tests run, and prints the verdict that the
gate computes from them. It judges nothing itself. Without a gate URL it does nothing at all.

In reading order: `settings` (what was configured), `credentials` and `github` (who we are), `transport` and `client`
(how the gate is spoken to), `preflight` (what is asked first), `opening` (what is told of a run), `attempts`
(pytest's reports put together to attempts), `spool` (where they wait), `stream` (the thread that delivers them),
`recovery` (what earlier sessions left), `reporter` (one run from opening to verdict), `facts`, `signing` and `fixtures`
(what tests get), `hooks` and `plugin` (pytest's entry).
"""

from .facts import Syncgate

__version__ = "0.1.0"
__all__ = ["Syncgate", "__version__"]
