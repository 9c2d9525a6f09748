"""One class of tests per interface: a backend subclasses it and gives one fixture."""
