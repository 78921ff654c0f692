"""What the tests on a real Argo CD are made of: processes, a CLI, a browser, tokens, and a gate's configuration."""
