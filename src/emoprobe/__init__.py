"""emoprobe: the emotion distributions inside speech foundation models, beside the votes of human raters."""

__version__ = "0.1.0"
