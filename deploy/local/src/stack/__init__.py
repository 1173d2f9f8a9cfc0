"""Run the whole of Taxiway on one machine: servers from wheels, processes under a supervisor."""
