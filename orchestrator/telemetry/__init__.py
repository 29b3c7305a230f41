"""What every process shows of itself: logs and Prometheus metrics."""
