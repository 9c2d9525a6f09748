"""The online store on one server."""
