"""What tells an operator how a process does: logs, traces, and pages for probes and Prometheus."""
