"""Sound files: decoded whole or refused, how long they are, how they sound, and what is wrong with them."""
