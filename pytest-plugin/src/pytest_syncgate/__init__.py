"""pytest plugin of Syncgate, the gate in front of Argo CD.

It reports every attempt of every test to the gate while the tests run, and prints the verdict that the
gate computes from them. It judges nothing itself. Without a gate URL it does nothing at all.

In reading order: `settings` (what was configured), `credentials` (who we are), `transport` and `client`
(how the gate is spoken to), `attempts` (pytest's reports put together to attempts), `stream` (the thread
that delivers them), `reporter` (one run from opening to verdict), `plugin` (pytest's entry).
"""

__version__ = "0.1.0"
