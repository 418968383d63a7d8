"""How providers are spoken to: what several files of `backends/saas` share (clients, shapes, failures, parameters)."""
