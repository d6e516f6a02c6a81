"""A pool for Prometheus: `families` says what is exported (pure), `service` looks and serves."""
