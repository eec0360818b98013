"""Shows operators the state of a process: logs, traces, and pages for probes and Prometheus."""
