"""The HTTP door: online features, registry browsing, health and metrics."""
