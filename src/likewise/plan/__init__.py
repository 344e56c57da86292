"""Floor 3: what is going to be done, as data. Plans are built from a catalog and a request, without effects."""
