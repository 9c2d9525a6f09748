"""The HTTP door: online features on a raw ASGI route, the registry and the process's health on the others."""
