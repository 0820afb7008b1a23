"""Models on this machine: found, looked over, fingerprinted, built, described."""
