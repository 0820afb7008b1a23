"""`kedro kubernetes`: a run as a Job of Kubernetes."""
