"""Distributions without a model: calibration, post-hoc scaling, ensembles, pools, cross-fitting."""
