"""One file per readout: how it asks a model, and how its stored answers become distributions."""
