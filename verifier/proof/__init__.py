"""The chain of trust: statement, envelope, keys, policy, verification and gate."""
