"""`make bench`: what Taxiway costs beside named peers, measured in turn on one machine."""
