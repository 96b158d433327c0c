"""One file per way of training: what is done once per clip, and how readers are made of an SFM and taken apart."""
